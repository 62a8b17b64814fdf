# The gateway: two instances on two clients, each at the same port of its
# client. The platform knows both addresses and goes to the other when one is
# away; or a load balancer does, which asks /readyz.
#
# Before the first deploy:
#   nomad var put nomad/jobs/prairie-scheduler ticket_key=@private.pem tokens=@tokens.json
#   nomad acl policy apply -namespace default -job prairie-scheduler prairie-scheduler policies/scheduler.policy.hcl

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

variable "count" {
  type    = number
  default = 2
}

variable "port" {
  type        = number
  default     = 7300
  description = "on every client that runs a gateway; 0 lets Nomad choose"
}

variable "hosts" {
  type        = string
  default     = ""
  description = "host names, with commas between, that requests may carry besides addresses"
}

variable "scaling" {
  type        = string
  default     = "nomad"
  description = "who starts and stops workers: nomad (gateways, within the bounds of worker.nomad.hcl), external (nomad-autoscaler) or off"
}

variable "scale_quiet" {
  type        = string
  default     = "5m"
  description = "how long fewer workers must have been enough before there are fewer"
}

variable "scale_idle" {
  type        = string
  default     = "15m"
  description = "how long nobody must have called before there are none, where the bounds allow it"
}

variable "inputs" {
  type        = string
  default     = ""
  description = "URL of a store of its own for the inputs of long runs, as in run.nomad.hcl; empty: there are none"
}

variable "long_runs" {
  type        = number
  default     = 64
  description = "long runs that may wait or run at once"
}

variable "render_cache" {
  type    = string
  default = "256MiB"
}

job "prairie-scheduler" {
  type        = "service"
  datacenters = var.datacenters
  node_pool   = var.node_pool
  priority    = 80

  constraint {
    operator = "distinct_hosts"
    value    = "true"
  }

  # One after the other: the port is taken while the old one drains, and the
  # other instance answers meanwhile.
  update {
    max_parallel     = 1
    min_healthy_time = "5s"
    healthy_deadline = "3m"
    auto_revert      = true
  }

  migrate {
    max_parallel     = 1
    min_healthy_time = "5s"
    healthy_deadline = "3m"
  }

  group "gateway" {
    count = var.count

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
      port "http" {
        static = var.port
      }
    }

    service {
      name     = "prairie-gateway"
      provider = "nomad"
      port     = "http"

      check {
        type     = "http"
        path     = "/healthz"
        interval = "2s"
        timeout  = "3s"

        check_restart {
          limit = 15
          grace = "60s"
        }
      }
    }

    task "gateway" {
      driver       = "raw_exec"
      kill_signal  = "SIGTERM"
      kill_timeout = "90s" # --drain-notice and --drain-grace

      # The token for Nomad: it allows what the policy of this job allows.
      identity {
        env = true
      }

      env {
        PRAIRIE_HOST = var.hosts
      }

      config {
        command = "${var.bin}/scheduler"
        args = [
          "serve", "--listen", "${NOMAD_ADDR_http}", "--nomad", "unix://${NOMAD_SECRETS_DIR}/api.sock",
          "--ticket-key", "${NOMAD_SECRETS_DIR}/ticket.pem", "--tokens", "${NOMAD_SECRETS_DIR}/tokens.json",
          "--render-cache-memory", var.render_cache, "--drain-notice", "3s", "--drain-grace", "60s",
          "--scaling", var.scaling, "--scale-quiet", var.scale_quiet, "--scale-idle", var.scale_idle,
          "--inputs", var.inputs, "--long-runs", "${var.long_runs}",
        ]
      }

      template {
        destination = "secrets/ticket.pem"
        perms       = "0600"
        change_mode = "restart"
        splay       = "1m"
        data        = "{{ with nomadVar \"nomad/jobs/prairie-scheduler\" }}{{ .ticket_key }}{{ end }}"
      }

      # The gateway reads it again by itself.
      template {
        destination = "secrets/tokens.json"
        perms       = "0600"
        change_mode = "noop"
        data        = "{{ with nomadVar \"nomad/jobs/prairie-scheduler\" }}{{ .tokens }}{{ end }}"
      }

      resources {
        cpu    = 500
        memory = 512
      }
    }
  }
}
