package sandbox

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
)

// rlimit is one resource limit, soft and hard alike. Sealing sets them in the
// order given, in Go or in a zygote's child.
type rlimit struct {
	Which int    `json:"which"`
	Value uint64 `json:"value"`
}

const (
	maxOpenFiles = 256
	maxFileSize  = 1 << 30 // a file can grow no larger, whatever the tmpfs says
)

// fixedRlimits are the same for every sandbox.
var fixedRlimits = []rlimit{
	{unix.RLIMIT_CORE, 0},
	{unix.RLIMIT_NOFILE, maxOpenFiles},
	{unix.RLIMIT_FSIZE, maxFileSize},
	{unix.RLIMIT_MEMLOCK, 0},
	{unix.RLIMIT_MSGQUEUE, 0},
}

// rlimits are those of one sandbox. A fork of a zygote has the zygote's pages
// mapped already; a program starts from nothing but may map far more than it uses.
func (h *Host) rlimits(l jobs.Limits, fork bool) []rlimit {
	r := append([]rlimit{}, h.fixed...)
	if l.CPU > 0 {
		r = append(r, rlimit{unix.RLIMIT_CPU, cpuSeconds(l.CPU)})
	}
	if h.cg != nil {
		return r
	}
	// No cgroup bounds memory and processes here. RLIMIT_DATA counts writable
	// private memory, of each process; the watch over the whole sandbox is in
	// watch.go. The process limit counts what lives in the leaf user namespace.
	processes, room := uint64(l.Processes), uint64(l.Memory)
	if fork {
		room += 512 << 20 // what the interpreter had before the call
		r = append(r, rlimit{unix.RLIMIT_AS, uint64(l.Memory) + 2<<30})
	} else {
		processes += 16   // threads of the stage, which end when it becomes the program
		room += 128 << 20 // and its heap, of which it may need more until then
	}
	return append(r, rlimit{unix.RLIMIT_DATA, room}, rlimit{unix.RLIMIT_NPROC, processes})
}

// cpuSeconds rounds up: RLIMIT_CPU counts whole seconds.
func cpuSeconds(d time.Duration) uint64 { return uint64((d + time.Second - 1) / time.Second) }
