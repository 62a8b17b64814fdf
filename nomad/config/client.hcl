# A client that runs our jobs. They need root: chunkfs mounts, and workers make
# namespaces. Course code never sees any of it.
client {
  enabled = true

  # No time lost on clouds that are not there. Leave out the one you run on.
  options = {
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean"
  }

  # Keep what ended long enough to read its logs, and no longer.
  gc_max_allocs           = 100
  gc_disk_usage_threshold = 85
}

plugin "raw_exec" {
  config {
    enabled = true
  }
}
