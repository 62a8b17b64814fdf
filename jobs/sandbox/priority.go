package sandbox

import (
	"sync"

	"golang.org/x/sys/unix"
)

// What nobody waits for (the warm work of a spare, the end of a sandbox that has
// answered) runs as SCHED_IDLE: it takes what calls leave, and a call that wakes
// up takes its place at once. A child is born so: the zygote forks it as SCHED_IDLE
// itself, for as long as that takes or until a call wants it. Coming back from there takes CAP_SYS_NICE over the
// whole machine, so that only tier root does it.

const capSysNice = 23

// mayRaise reports whether this process can take another out of SCHED_IDLE.
func mayRaise(t Tier) bool {
	if t != TierRoot {
		return false
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	return unix.Capget(&hdr, &caps[0]) == nil && caps[0].Effective&(1<<capSysNice) != 0
}

// background takes a process out of everybody's way, foreground brings it back
// with the worker's own niceness: the kernel sets both in one call.
func (h *Host) background(pid int) {
	if h.raises {
		_ = unix.SchedSetAttr(pid, &unix.SchedAttr{Policy: unix.SCHED_IDLE, Nice: h.nice}, 0) // it runs, only elsewhen, where this fails
	}
}

func (h *Host) foreground(pid int) {
	if h.raises {
		_ = unix.SchedSetAttr(pid, &unix.SchedAttr{Policy: unix.SCHED_NORMAL, Nice: h.nice}, 0)
	}
}

// niceness is this process's own; the raw call answers 20 less it.
func niceness() int32 {
	kernel, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return 0
	}
	return int32(20 - kernel)
}

// attention is a zygote's: it serves one request at a time, as SCHED_IDLE where
// nobody waits for it. Who comes to wait behind such a one brings the zygote back:
// otherwise both would wait for everything else on a busy machine.
type attention struct {
	host *Host
	pid  int

	mu      sync.Mutex // guards what follows
	waiting int        // requests that somebody waits for
	idle    bool
}

func (a *attention) await() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting++
	a.returnLocked()
}

func (a *attention) served() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting--
}

// begin sends the zygote to the background unless somebody waits for it.
func (a *attention) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.idle = a.waiting == 0; a.idle {
		a.host.background(a.pid)
	}
}

// end brings it back, and reports whether it was there all the time.
func (a *attention) end() (throughout bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	throughout = a.idle
	a.returnLocked()
	return throughout
}

func (a *attention) returnLocked() {
	if a.idle {
		a.idle = false
		a.host.foreground(a.pid)
	}
}

// Recede lets whatever the sandbox still has to do wait for others, as long as
// there are slots enough to wait for it.
func (b *Box) Recede() {
	if _, free, _ := b.host.Slots(); 2*free > b.host.cfg.Slots {
		b.host.background(b.pid)
	}
}
