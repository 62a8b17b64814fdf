package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// scopedEnv says that this process is in a scope already, so that it asks once.
const scopedEnv = "PRAIRIE_SCOPED"

// scopeArgs run a command in a cgroup that systemd hands to its user.
var scopeArgs = []string{"--user", "--scope", "--quiet", "--collect", "-p", "Delegate=yes", "--"}

// intoScope starts this program again in a cgroup of its own where a user
// without root has a systemd that gives one: memory is bounded there. It returns
// where that is not so, or not needed.
func intoScope(ctx context.Context, cgroup string) {
	if os.Geteuid() == 0 || cgroup != "" || os.Getenv(scopedEnv) != "" || ownsCgroup() {
		return
	}
	systemd, err := exec.LookPath("systemd-run")
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if exec.CommandContext(ctx, systemd, append(scopeArgs[:len(scopeArgs):len(scopeArgs)], "true")...).Run() != nil {
		return // no session of its own, or no right to one
	}
	self, err := os.Executable()
	if err != nil {
		return
	}
	argv := append(append([]string{systemd}, scopeArgs...), self)
	_ = unix.Exec(systemd, append(argv, os.Args[1:]...), append(os.Environ(), scopedEnv+"=1"))
}

// ownsCgroup reports whether children of our own cgroup can be made.
func ownsCgroup() bool {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			dir := filepath.Join("/sys/fs/cgroup", path)
			return unix.Access(filepath.Join(dir, "cgroup.subtree_control"), unix.W_OK) == nil && unix.Access(dir, unix.W_OK) == nil
		}
	}
	return false
}
