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

// raise ends a spare's time in the background.
func (b *Box) raise() {
	if b.idle {
		b.idle = false
		_ = unix.SchedSetAttr(b.pid, &unix.SchedAttr{Policy: unix.SCHED_NORMAL}, 0) // it runs, only later, where this fails
	}
}

// Recede lets whatever the sandbox still has to do wait for others, as long as
// there are slots enough to wait for it.
func (b *Box) Recede() {
	if _, free, _ := b.host.Slots(); b.host.raises && 2*free > b.host.cfg.Slots {
		_ = unix.SchedSetAttr(b.pid, &unix.SchedAttr{Policy: unix.SCHED_IDLE}, 0)
	}
}
