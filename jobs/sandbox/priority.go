package sandbox

import (
	"golang.org/x/sys/unix"
)

// What nobody waits for (the warm work of a spare, the end of a sandbox that has
// answered) runs as SCHED_IDLE: it takes what calls leave, and a call that wakes
// up takes its place at once. A child is born so: the zygote forks it as SCHED_IDLE
// itself, for as long as that takes. Coming back from there takes CAP_SYS_NICE over the
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

// Recede lets whatever the sandbox still has to do wait for others, as long as
// there are slots enough to wait for it.
func (b *Box) Recede() {
	if _, free, _ := b.host.Slots(); 2*free > b.host.cfg.Slots {
		b.host.background(b.pid)
	}
}
