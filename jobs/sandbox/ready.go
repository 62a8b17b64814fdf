package sandbox

import (
	"encoding/json"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Starting this program again and building a root take longer than everything
// else that a program's sandbox needs, and neither depends on the program. So a
// few stages wait for the next one, each in a slot of its own with its root built,
// once programs are being run at all. A stage that waits has run nothing but our
// own code, and whoever needs its slot gets it.
type readyStages struct {
	host *Host
	most int

	mu      sync.Mutex // guards the fields below
	root    string     // that they wait in, as JSON
	waiting []*stage
	held    int // slots of those that wait or are being made
	making  bool
	closed  bool
	rest    *time.Timer
	work    sync.WaitGroup
}

const (
	usualStages = 2               // a program has two steps
	stagesRest  = 2 * time.Minute // without a program
)

// take returns a stage that waits in the root of this key, or nil.
func (r *readyStages) take(key string) *stage {
	r.mu.Lock()
	var s *stage
	if n := len(r.waiting); n > 0 && r.root == key {
		s, r.waiting = r.waiting[n-1], r.waiting[:n-1]
		r.held--
	}
	r.mu.Unlock()
	if s == nil {
		return nil
	}
	fds := []unix.PollFd{{Fd: int32(s.link), Events: unix.POLLIN}} // it speaks where something went wrong
	if n, err := unix.Poll(fds, 0); n != 0 || err != nil {
		s.end()
		r.host.release(s.slot)
		return nil
	}
	return s
}

// want has stages wait in root, which has just been used, while slots are plenty.
func (r *readyStages) want(root Root, key string) {
	if r.most <= 0 || root.Tree != "" { // an environment's mount would be held
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if r.rest == nil {
		r.rest = time.AfterFunc(stagesRest, r.doze)
	}
	r.rest.Reset(stagesRest)
	if r.root != key {
		for _, s := range r.waiting {
			r.work.Go(func() { r.drop(s) })
		}
		r.root, r.waiting = key, nil
	}
	if !r.making && len(r.waiting) < r.most {
		r.making = true
		r.work.Go(func() { r.fill(root, key) })
	}
}

// fill makes one stage after another until enough wait.
func (r *readyStages) fill(root Root, key string) {
	for more := true; more; {
		s := r.make(root)
		r.mu.Lock()
		// Whoever began to wait for a slot before now found no stage to end.
		keep := s != nil && !r.closed && r.root == key && r.host.wanted.Load() == 0
		if keep {
			r.waiting = append(r.waiting, s)
		}
		r.making = keep && len(r.waiting) < r.most
		more = r.making
		r.mu.Unlock()
		if s != nil && !keep {
			r.drop(s)
		}
	}
}

// make makes one, or none where slots are few.
func (r *readyStages) make(root Root) *stage {
	h := r.host
	if _, free, _ := h.Slots(); 2*free <= h.cfg.Slots {
		return nil
	}
	var slot *slot
	select {
	case slot = <-h.free:
	default:
		return nil
	}
	r.hold(1)
	s, err := h.stageIn(slot, root, true)
	if err != nil {
		h.cfg.Log.Warn().Err(err).Msg("cannot keep a stage ready for programs")
		r.hold(-1)
		h.release(slot)
	}
	return s
}

func (r *readyStages) hold(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held += n
}

// yield ends one that waits, for its slot, and reports whether there was one.
func (r *readyStages) yield() bool {
	r.mu.Lock()
	var s *stage
	if n := len(r.waiting); n > 0 {
		s, r.waiting = r.waiting[n-1], r.waiting[:n-1]
	}
	r.mu.Unlock()
	if s != nil {
		r.drop(s)
	}
	return s != nil
}

// count is how many slots it holds.
func (r *readyStages) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

func (r *readyStages) drop(s *stage) {
	s.end()
	r.hold(-1)
	r.host.release(s.slot)
}

// doze ends all that wait, after a rest.
func (r *readyStages) doze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.work.Go(func() { r.clear(false) })
	}
}

// clear ends all that wait; for good where that is said.
func (r *readyStages) clear(forGood bool) {
	r.mu.Lock()
	all := r.waiting
	r.waiting, r.root, r.closed = nil, "", r.closed || forGood
	if r.rest != nil {
		r.rest.Stop()
	}
	r.mu.Unlock()
	for _, s := range all {
		r.drop(s)
	}
	if forGood {
		r.work.Wait()
	}
}

// What a stage may take before it has its program's limits.
const (
	stageMemory  = 128 << 20
	stageThreads = 64
)

// Ready is how many stages wait for a program.
func (h *Host) Ready() int {
	h.ready.mu.Lock()
	defer h.ready.mu.Unlock()
	return len(h.ready.waiting)
}

// rootKey tells roots apart.
func rootKey(root Root) (string, error) {
	b, err := json.Marshal(root)
	return string(b), err
}

// stageIn starts a stage for a program, in a slot.
func (h *Host) stageIn(slot *slot, root Root, idle bool) (*stage, error) {
	pidfd := -1
	attr := &syscall.SysProcAttr{
		Setsid: true, PidFD: &pidfd,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
	}
	if h.walls.Userns {
		// A leaf user namespace, as a zygote's child makes for itself. This program
		// has threads and cannot, so it is born in one, with everything it needs.
		attr.Cloneflags |= syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 65534, HostID: 0, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 65534, HostID: 0, Size: 1}}
		for c := range h.walls.LastCap + 1 {
			attr.AmbientCaps = append(attr.AmbientCaps, uintptr(c)) // not uid 0: exec would drop them
		}
	}
	if err := slot.cg.limit(stageMemory, stageThreads); err != nil { // not those of the slot's last use
		return nil, err
	}
	if cg := slot.cg; cg != nil && cg.into != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(cg.into.Fd())
	}
	s, err := h.startStage(&root, attr, [3]*os.File{}, nil)
	if err != nil {
		return nil, err
	}
	s.slot = slot
	if s.idle = idle && h.raises; s.idle {
		h.background(s.cmd.Process.Pid)
	}
	return s, nil
}
