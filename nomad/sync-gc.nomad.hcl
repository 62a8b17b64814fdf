# Removes old versions from the store every night, and what nothing reaches.
# Pushes may go on meanwhile.

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "node_pool" {
  type    = string
  default = "default"
}

variable "bin" {
  type    = string
  default = "/opt/prairielambda/bin"
}

variable "store" {
  type        = string
  description = "as in chunkfs-holder.nomad.hcl"
}

variable "keep_last" {
  type        = number
  default     = 50
  description = "newest versions of each course that stay"
}

variable "keep_within" {
  type        = string
  default     = "400d"
  description = "versions pushed within this time stay"
}

job "prairie-sync-gc" {
  type        = "batch"
  datacenters = var.datacenters
  node_pool   = var.node_pool
  priority    = 30

  periodic {
    crons            = ["30 3 * * *"]
    prohibit_overlap = true
  }

  group "gc" {
    restart {
      attempts = 2
      delay    = "1m"
      interval = "1h"
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    task "syncer" {
      driver      = "raw_exec"
      kill_signal = "SIGTERM"

      config {
        command = "${var.bin}/syncer"
        args    = ["gc", "--store", var.store, "--json", "--keep-last", "${var.keep_last}", "--keep-within", var.keep_within]
      }

      resources {
        cpu    = 500
        memory = 512
      }
    }
  }
}
