# Long runs: programs that take longer than a call may, and external graders.
# Gateways dispatch this job once for each, with the digest of its input; nobody
# else needs to.
#
# The program runs in our sandbox like any other. What it prints goes to the
# task's log, which every gateway reads, for as long as Nomad keeps the job
# (job_gc_threshold of server.hcl). A run that is interrupted is not begun again.

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "node_pool" {
  type    = string
  default = "default"
}

variable "bin" {
  type        = string
  default     = "/opt/prairielambda/bin"
  description = "directory with our programs, on every client"
}

variable "mount" {
  type        = string
  default     = "/courses"
  description = "as in chunkfs-holder.nomad.hcl; graders find their questions and images there"
}

variable "inputs" {
  type        = string
  description = "URL of the store that gateways put inputs into (their --inputs); not the one of the courses, which gateways cannot write. Let its bucket delete what is older than two days."
}

variable "wall" {
  type        = string
  default     = "10m"
  description = "the longest that one run may take"
}

variable "sandbox_memory" {
  type    = string
  default = "512MiB"
}

variable "grader_network" {
  type        = bool
  default     = false
  description = "Whether graders whose question asks for networking get a proxy to public addresses."
}

variable "cpu" {
  type        = number
  default     = 500
  description = "MHz that one run reserves: how many there are at once on a client follows from it"
}

variable "memory" {
  type    = number
  default = 512
}

job "prairie-run" {
  type        = "batch"
  datacenters = var.datacenters
  node_pool   = var.node_pool
  priority    = 40

  parameterized {
    payload       = "forbidden"
    meta_required = ["input", "owner", "secret"]
  }

  group "run" {
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    # A client that is cut off goes on with the run, and tells when it is back.
    disconnect {
      lost_after = "1h"
      replace    = false
    }

    ephemeral_disk {
      size = 200
    }

    # Nobody listens on it: it is a number that no other task of the client has.
    network {
      port "uid" {}
    }

    task "run" {
      driver       = "raw_exec"
      kill_signal  = "SIGTERM" # ends the program and says so
      kill_timeout = "10s"

      config {
        command = "/bin/sh"
        args    = ["local/start"]
      }

      template {
        destination = "local/start"
        data        = <<-SH
          set -eu
          exec ${var.bin}/worker run --inputs ${var.inputs} --input "$NOMAD_META_input" --work "$NOMAD_TASK_DIR" \
            --courses ${var.mount} --wall ${var.wall} --memory ${var.sandbox_memory} --base-uid $((100000 + NOMAD_PORT_uid * 256)) \
            --grader-network=${var.grader_network}
        SH
      }

      # One file holds all that a run may print: what is read never moves.
      logs {
        max_files     = 2
        max_file_size = 32
      }

      resources {
        cpu    = var.cpu
        memory = var.memory
      }
    }
  }
}
