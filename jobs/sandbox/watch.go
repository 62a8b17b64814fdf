package sandbox

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// watchEvery is how often the memory of a sandbox without a cgroup is summed.
const watchEvery = 50 * time.Millisecond

// watch kills the sandbox when its processes together hold more memory of their
// own than the limit. It is what tier reduced has in place of a memory cgroup:
// between two looks a sandbox can take more, bounded by its rlimits.
func (b *Box) watch() {
	go func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for range tick.C {
			b.mu.Lock()
			gone := b.gone
			b.mu.Unlock()
			if gone || !b.Alive() {
				return
			}
			if treeMemory(b.pid) > b.limits.Memory {
				b.overdraft.Store(true)
				b.Kill()
				return
			}
		}
	}()
}

// treeMemory sums what the process and its descendants hold for themselves:
// anonymous and shared pages, each divided by those who share it. Whatever lost
// its parent inside became a child of the sandbox's init, so the tree is whole.
func treeMemory(pid int) int64 {
	var sum int64
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); len(f) == 3 && (f[0] == "Pss_Anon:" || f[0] == "Pss_Shmem:") {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			sum += n << 10
		}
	}
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, t := range tasks {
		c, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		for _, f := range strings.Fields(string(c)) {
			if child, err := strconv.Atoi(f); err == nil {
				sum += treeMemory(child)
			}
		}
	}
	return sum
}
