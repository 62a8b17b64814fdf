# A client that runs our jobs. They need root: chunkfs mounts, and workers make
# namespaces. Course code never sees any of it.
client {
  enabled = true

  # No time lost on clouds that are not there. Leave out the one you run on.
  options = {
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean"
  }

  # Keep what ended until its readers have come: more than the long runs that end
  # on one client in an hour, which is when the servers let go of them.
  gc_max_allocs           = 4000
  gc_disk_usage_threshold = 85
}

plugin "raw_exec" {
  config {
    enabled = true
  }
}
