# For who deploys: jobs and their variables, and draining clients.
namespace "default" {
  capabilities = ["list-jobs", "read-job", "submit-job", "parse-job", "scale-job", "dispatch-job", "read-logs", "alloc-lifecycle"]

  variables {
    path "nomad/jobs/*" {
      capabilities = ["list", "read", "write"]
    }
  }
}

node {
  policy = "write"
}
