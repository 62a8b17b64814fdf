package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A zygote may die after it has forked and before it has said so. The child is
// then ours by birth (CLONE_PARENT), sealed or about to be, in a slot that
// somebody would soon use again, and nobody knows its pid. It is found as a child
// of the thread that forks for this Host and for nobody else.

// remember notes a child of the spawner; the caller holds forking.
func (h *Host) remember(pid int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.children[pid]++
}

// forget drops a child that has been waited for. Its number may be another child's by
// now, which was remembered meanwhile and stays.
func (h *Host) forget(pid int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.children[pid]--; h.children[pid] == 0 {
		delete(h.children, pid)
	}
}

// end kills a process of our own code and waits for it.
func (h *Host) end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	h.forget(cmd.Process.Pid)
}

// endSoon is end for a process whose root may lie on a mount that does not answer:
// one that will not die is left to do so once the mount goes on.
func (h *Host) endSoon(cmd *exec.Cmd) {
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		h.end(cmd)
	}()
	select {
	case <-dead:
	case <-time.After(stuckAfter):
		h.cfg.Log.Warn().Int("pid", cmd.Process.Pid).Msg("an interpreter does not die; it is left behind")
	}
}

// reapOrphans ends every child that is nobody's. The zygote it came from has
// been waited for.
func (h *Host) reapOrphans() {
	h.forking.Lock()
	defer h.forking.Unlock()
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", h.spawner.tid))
	if err != nil {
		h.cfg.Log.Warn().Err(err).Msg("cannot look for children of a zygote that died")
		return
	}
	for _, f := range strings.Fields(string(b)) {
		pid, err := strconv.Atoi(f)
		h.mu.Lock()
		_, known := h.children[pid]
		h.mu.Unlock()
		if err != nil || known {
			continue
		}
		_ = unix.Kill(pid, unix.SIGKILL)
		deadline := time.Now().Add(stuckAfter)
		for time.Now().Before(deadline) {
			got, err := unix.Wait4(pid, nil, unix.WNOHANG|unix.WALL, nil)
			if got == pid || err != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		h.cfg.Log.Warn().Int("pid", pid).Msg("ended a sandbox whose zygote died while forking it")
	}
}
