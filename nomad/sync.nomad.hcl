# Pushes on request: POST /push {course, repository, rev}. One instance, on a
# client that reaches the repositories and may write to the store.
#
# Before the first deploy: nomad var put nomad/jobs/prairie-sync tokens=@sync-tokens
# with lines of the form: sha256-of-the-secret course[,course...]

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "node_pool" {
  type        = string
  default     = "default"
  description = "the pool of clients that may write to the store"
}

variable "bin" {
  type    = string
  default = "/opt/prairielambda/bin"
}

variable "store" {
  type        = string
  description = "as in chunkfs-holder.nomad.hcl"
}

variable "repositories" {
  type        = string
  default     = "/var/lib/prairielambda/repositories"
  description = "directory of the course repositories; their remotes are fetched before a push"
}

job "prairie-sync" {
  type        = "service"
  datacenters = var.datacenters
  node_pool   = var.node_pool
  priority    = 60

  group "sync" {
    network {
      port "http" {}
    }

    service {
      name     = "prairie-sync"
      provider = "nomad"
      port     = "http"

      check {
        type     = "http"
        path     = "/healthz"
        interval = "10s"
        timeout  = "3s"
      }
    }

    task "syncer" {
      driver       = "raw_exec"
      kill_signal  = "SIGTERM"
      kill_timeout = "60s" # a push that is cut off leaves the old version whole

      config {
        command = "${var.bin}/syncer"
        args = [
          "serve", "--store", var.store, "--listen", "${NOMAD_ADDR_http}",
          "--tokens", "${NOMAD_SECRETS_DIR}/tokens", "--repositories", var.repositories,
        ]
      }

      template {
        destination = "secrets/tokens"
        perms       = "0600"
        change_mode = "restart"
        data        = "{{ with nomadVar \"nomad/jobs/prairie-sync\" }}{{ .tokens }}{{ end }}"
      }

      resources {
        cpu    = 500
        memory = 512
      }
    }
  }
}
