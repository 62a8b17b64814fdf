# For who deploys: jobs and their variables, volumes of courses, and draining clients.
namespace "default" {
  capabilities = ["list-jobs", "read-job", "submit-job", "parse-job", "scale-job", "dispatch-job", "read-logs", "alloc-lifecycle", "host-volume-create", "host-volume-read", "host-volume-delete"]

  variables {
    path "nomad/jobs/*" {
      capabilities = ["list", "read", "write"]
    }
  }
}

# Jobs that mount a volume, which is read-only whatever they ask for.
host_volume "*" {
  capabilities = ["mount-readonly"]
}

node {
  policy = "write"
}
