// Package sandbox isolates one process tree that runs code nobody trusts.
//
// A Host owns the machine's side: a fixed set of slots (a user id, cgroups and a
// network namespace each) that are reused and never multiplied. A Box is one
// sandbox: fresh pid, mount, ipc, uts, cgroup namespaces, a slot's network
// namespace without any interface up, a read-only root that shows only what the
// runtime needs, private /tmp and /dev/shm, no capability, no_new_privs, two
// seccomp filters, Landlock, rlimits and cgroup limits. Boxes come from a Zygote
// (a fork of a warm interpreter) or from Host.Exec (a fresh program).
//
// It guarantees that course code never runs before every layer of the tier in
// force is on: each step of the set-up fails closed, and the Box then does not
// exist. It guarantees that a Box's whole process tree ends with Close, or that
// its slot is quarantined and said so. It refuses to run with fewer layers than
// the tier named, and it never chooses the reduced tier by itself.
//
// The sequence of system calls follows one rule: whatever the kernel may resolve
// through a path that inside code can influence is resolved before that code
// runs, or through descriptors.
package sandbox
