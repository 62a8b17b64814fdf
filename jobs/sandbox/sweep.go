package sandbox

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A worker that was killed leaves nothing alive: its children have a
// parent-death signal, their namespaces and mounts end with them. What stays is
// empty directories, in the working directory and in the cgroup trees.

// abandoned reports whether name is that of a worker's directory whose worker is gone.
func abandoned(name string) bool {
	rest, ok := strings.CutPrefix(name, dirPrefix)
	if !ok {
		return false
	}
	pid, rest, ok := strings.Cut(strings.TrimSuffix(rest, leafSuffix), "-")
	start, _, _ := strings.Cut(rest, "-") // then what tells Hosts of one process apart
	n, err := strconv.Atoi(pid)
	return ok && err == nil && startTime(n) != start
}

func (h *Host) sweepDirs(base string) {
	for _, dir := range abandonedIn(base) {
		_ = os.Remove(filepath.Join(dir, "root")) // Remove, not RemoveAll: whatever is not empty is not ours
		if err := os.Remove(dir); err == nil {
			h.cfg.Log.Info().Str("dir", dir).Msg("removed what a killed worker left")
		}
	}
}

func (h *Host) sweepCgroups() {
	trees, err := cgroupTrees()
	if err != nil {
		return
	}
	for _, t := range trees {
		own := t.own
		if h.cfg.Cgroup != "" {
			own = h.cfg.Cgroup
		}
		for _, dir := range abandonedIn(filepath.Join(t.mount, own)) {
			removeCgroup(dir)
			h.cfg.Log.Info().Str("cgroup", dir).Msg("removed what a killed worker left")
		}
	}
}

func abandonedIn(base string) []string {
	entries, _ := os.ReadDir(base)
	var dirs []string
	for _, e := range entries {
		dir := filepath.Join(base, e.Name())
		if !e.IsDir() || !abandoned(e.Name()) {
			continue
		}
		// A pid means nothing in another pid namespace; a lock does.
		if f := lockDir(dir); f != nil {
			f.Close()
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// lockDir takes the lock by which a live worker holds its directories; it ends
// with the file, and so with the process. nil means that somebody else has it.
func lockDir(dir string) *os.File {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		f.Close()
		return nil
	}
	return f
}
