# A server. Three of them survive the loss of one.
server {
  enabled = true

  # Finished runs leave after an hour instead of a day: many short ones would
  # fill the servers' memory.
  job_gc_threshold        = "1h"
  eval_gc_threshold       = "1h"
  batch_eval_gc_threshold = "1h"
  deployment_gc_threshold = "1h"
  node_gc_threshold       = "24h"

  # A client that falls silent is found out within this and the grace.
  min_heartbeat_ttl = "5s"
  heartbeat_grace   = "5s"
}
