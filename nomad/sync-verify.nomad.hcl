# Reads and hashes everything in the store once a week. A failed run means
# damage: its log names what is missing or wrong, and how to repair it.

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

job "prairie-sync-verify" {
  type        = "batch"
  datacenters = var.datacenters
  node_pool   = var.node_pool
  priority    = 30

  periodic {
    crons            = ["30 4 * * 0"]
    prohibit_overlap = true
  }

  group "verify" {
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
        args    = ["verify", "--store", var.store, "--json"]
      }

      resources {
        cpu    = 500
        memory = 512
      }
    }
  }
}
