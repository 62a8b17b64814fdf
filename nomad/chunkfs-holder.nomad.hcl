# Mounts all courses on every client, and keeps the mount.
#
# The process of this job holds the kernel's FUSE device and starts the daemon
# that serves it. The daemon may die or be replaced (see chunkfs.nomad.hcl) and
# no reader notices. This job itself must not be updated under load: Nomad kills
# everything below an allocation, so a new version of it is a new mount. Drain a
# client first, or leave this job as it is; it seldom has a reason to change.

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "node_pool" {
  type        = string
  default     = "default"
  description = "the pool of clients that run calls"
}

variable "bin" {
  type        = string
  default     = "/opt/prairielambda/bin"
  description = "directory with our programs, on every client; used where none was installed yet"
}

variable "state" {
  type        = string
  default     = "/var/lib/prairielambda"
  description = "directory for the cache and for the chunkfs that runs, on every client"
}

variable "mount" {
  type        = string
  default     = "/courses"
  description = "mount point; the workers' --courses"
}

variable "store" {
  type        = string
  description = "URL of the store: gs://bucket/prefix, or dir:///path on a shared file system"
}

variable "cache_size" {
  type    = string
  default = "10GiB"
}

job "prairie-chunkfs-holder" {
  type        = "system"
  datacenters = var.datacenters
  node_pool   = var.node_pool
  priority    = 90

  group "holder" {
    restart {
      attempts = 20
      interval = "10m"
      delay    = "1s"
      mode     = "delay"
    }

    task "hold" {
      driver       = "raw_exec"
      kill_signal  = "SIGTERM" # unmounts; who still reads may finish
      kill_timeout = "30s"

      config {
        command = "/bin/sh"
        args    = ["local/hold"]
      }

      # The daemon runs from a place of its own, so that an update can replace
      # the program there and have the holder start it.
      template {
        destination = "local/hold"
        data        = <<-SH
          set -eu
          program=${var.state}/bin/chunkfs
          mkdir -p ${var.state}/bin
          [ -x $program ] || { cp ${var.bin}/chunkfs $program.$$ && mv $program.$$ $program; }
          exec $program mount --store ${var.store} --cache ${var.state}/cache --cache-size ${var.cache_size} ${var.mount}
        SH
      }

      resources {
        cpu    = 500
        memory = 512
      }
    }
  }
}
