# Workers: each runs calls in sandboxes on its client. Gateways find them by the
# service prairie-worker.
#
# Before the first deploy: nomad var put nomad/jobs/prairie-worker ticket_pub=@public.pem

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
  description = "directory with our programs, on every client; another one is an upgrade"
}

variable "mount" {
  type        = string
  default     = "/courses"
  description = "as in chunkfs-holder.nomad.hcl"
}

variable "count" {
  type        = number
  default     = 2
  description = "workers of a first deploy; later ones keep what scaling made of it with `nomad job run -preserve-counts`"
}

variable "least" {
  type        = number
  default     = 1
  description = "scaling never goes below this; with 0 there is no worker while nobody calls, and the first call waits for one"
}

variable "most" {
  type        = number
  default     = 8
  description = "scaling never goes above this"
}

variable "slots" {
  type        = number
  default     = 64
  description = "sandboxes of one worker at once, warm spares included; at most 256"
}

variable "sandbox_memory" {
  type        = string
  default     = "512MiB"
  description = "of one sandbox"
}

variable "cpu" {
  type        = number
  default     = 500
  description = "MHz that one worker reserves"
}

variable "memory" {
  type        = number
  default     = 1024
  description = "MiB that one worker reserves"
}

variable "settle" {
  type        = string
  default     = "5s"
  description = "how long a new one must have been healthy before the next old one goes"
}

job "prairie-worker" {
  type        = "service"
  datacenters = var.datacenters
  node_pool   = var.node_pool
  priority    = 70

  spread {
    attribute = "${node.unique.id}"
  }

  # One new worker beside the old ones first; it takes over when its checks
  # pass, and the update is taken back when they do not.
  update {
    canary           = 1
    auto_promote     = true
    auto_revert      = true
    max_parallel     = 1
    min_healthy_time = var.settle
    healthy_deadline = "3m"
  }

  # A drained client gives its workers away one by one.
  migrate {
    max_parallel     = 1
    min_healthy_time = var.settle
    healthy_deadline = "3m"
  }

  # One group for each class of runtime. This one runs what the client's own
  # Python and the course's lambda.json bring along.
  group "python" {
    count = var.count

    # Gateways with --scaling nomad stay within these bounds. For nomad-autoscaler
    # (--scaling external) put a policy block in here whose Prometheus query is
    # max(prairie_gateway_workers_wanted).
    scaling {
      enabled = true
      min     = var.least
      max     = var.most
    }

    # Out of the service first, then SIGTERM: gateways have left by then.
    shutdown_delay = "3s"

    # A client that is cut off gets a substitute at once, and its workers back
    # when it returns.
    disconnect {
      lost_after = "1h"
      replace    = true
      reconcile  = "best_score"
    }

    restart {
      attempts = 20
      interval = "10m"
      delay    = "1s"
      mode     = "delay"
    }

    reschedule {
      delay          = "5s"
      delay_function = "constant"
      unlimited      = true
    }

    network {
      port "http" {}
    }

    service {
      name     = "prairie-worker"
      provider = "nomad"
      port     = "http"

      check {
        type     = "http"
        path     = "/readyz"
        interval = "2s"
        timeout  = "3s"

        check_restart {
          limit = 15
          grace = "60s"
        }
      }
    }

    task "worker" {
      driver       = "raw_exec"
      kill_signal  = "SIGTERM" # refuses new calls, finishes those that run
      kill_timeout = "30s"

      config {
        command = "/bin/sh"
        args    = ["local/start"]
      }

      # Two workers of one client must not share user ids, so these follow from
      # the port. A worker holds the mount that it started with: when there is
      # another one in its place, it ends and starts anew.
      template {
        destination = "local/start"
        data        = <<-SH
          set -eu
          until ${var.bin}/chunkfs status ${var.mount} >/dev/null 2>&1; do sleep 0.5; done
          mount=$(stat -c %d ${var.mount})
          while kill -0 $$ 2>/dev/null; do
            sleep 1
            now=$(timeout 5 stat -c %d ${var.mount} 2>/dev/null) && [ "$now" != "$mount" ] && kill -TERM $$
          done >/dev/null 2>&1 &
          exec ${var.bin}/worker serve --courses ${var.mount} --listen $NOMAD_ADDR_http \
            --ticket-pub $NOMAD_SECRETS_DIR/ticket.pub --runs $NOMAD_ALLOC_DIR/data/runs --slots ${var.slots} --memory ${var.sandbox_memory} \
            --base-uid $((100000 + NOMAD_PORT_http * 256))
        SH
      }

      template {
        destination = "secrets/ticket.pub"
        change_mode = "restart"
        splay       = "1m"
        data        = "{{ with nomadVar \"nomad/jobs/prairie-worker\" }}{{ .ticket_pub }}{{ end }}"
      }

      resources {
        cpu    = var.cpu
        memory = var.memory
      }
    }
  }
}
