# Every agent, server or client. Beside it goes one file with what is the
# machine's own: data_dir, bind_addr, advertise, and the servers' addresses.
disable_update_check = true
leave_on_interrupt   = false
leave_on_terminate   = false
enable_syslog        = false

telemetry {
  prometheus_metrics         = true
  publish_allocation_metrics = true
  publish_node_metrics       = true
  disable_hostname           = true
}

# Everybody needs a token; policies/ says what each may do.
acl {
  enabled = true
}
