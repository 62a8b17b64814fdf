# Which chunkfs serves the mounts: one allocation a client, which puts the
# program of var.bin in the holder's place, has the holder start it, and then
# watches the mount. An update of this job is an upgrade of chunkfs, client by
# client, a canary first (from Nomad 1.11 on); readers wait some milliseconds in
# the kernel and see nothing of it.

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

variable "state" {
  type        = string
  default     = "/var/lib/prairielambda"
  description = "as in chunkfs-holder.nomad.hcl"
}

variable "mount" {
  type        = string
  default     = "/courses"
  description = "as in chunkfs-holder.nomad.hcl"
}

variable "settle" {
  type        = string
  default     = "5s"
  description = "how long a new one must have been healthy before the next old one goes"
}

job "prairie-chunkfs" {
  type        = "system"
  datacenters = var.datacenters
  node_pool   = var.node_pool
  priority    = 85

  # A quarter of the clients first; the others follow when the mounts there answer.
  update {
    canary           = 25
    auto_promote     = true
    max_parallel     = 1
    min_healthy_time = var.settle
    healthy_deadline = "2m"
  }

  group "chunkfs" {
    restart {
      attempts = 20
      interval = "10m"
      delay    = "2s"
      mode     = "delay"
    }

    task "serve" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args    = ["local/serve"]
      }

      template {
        destination = "local/serve"
        data        = <<-SH
          set -eu
          program=${var.state}/bin/chunkfs
          new=${var.bin}/chunkfs
          server() { $new status --json ${var.mount} | sed -n 's/.*"pid": *\([0-9][0-9]*\).*/\1/p' | head -n 1; }

          # The holder is there before us, or will be.
          tries=0
          until pid=$(server) && [ -n "$pid" ]; do
            tries=$((tries + 1)); [ $tries -lt 60 ] || exit 1
            sleep 1
          done
          if ! cmp -s $new /proc/$pid/exe; then
            cp $new $program.$$ && mv $program.$$ $program
            kill -HUP "$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$pid/status)"
            tries=0
            until pid=$(server) && cmp -s $new /proc/$pid/exe; do
              tries=$((tries + 1)); [ $tries -lt 300 ] || exit 1
              sleep 0.1
            done
          fi

          # A mount that does not answer three times ends this task, for all to see.
          sick=0
          while [ $sick -lt 3 ]; do
            if $new status ${var.mount} >/dev/null; then sick=0; else sick=$((sick + 1)); fi
            sleep 2
          done
          exit 1
        SH
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
