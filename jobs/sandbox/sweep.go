package sandbox

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
		if e.IsDir() && abandoned(e.Name()) {
			dirs = append(dirs, filepath.Join(base, e.Name()))
		}
	}
	return dirs
}
