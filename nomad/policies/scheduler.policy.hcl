# What a gateway may do: find workers, scale them, dispatch and follow runs. It
# cannot submit or change a job, enter an allocation or read its files.
namespace "default" {
  capabilities = ["list-jobs", "read-job", "dispatch-job", "read-logs", "scale-job"]
}
