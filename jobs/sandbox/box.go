package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
)

// Spec is what a new sandbox needs to know.
type Spec struct {
	Limits jobs.Limits // every field set: see jobs.Limits
	Mounts []Mount
	Hello  json.RawMessage // handed to the zygote's program in the child, before it is ready
	Idle   bool            // a spare: runs only where nothing else does, until Restart
	Code   *os.File        // made by Sealed; its content is the zygote's program's to read in the child; may be nil

	// For Exec only.
	Scratch *Scratch // shown at its place, writable; nil for none
	Kept    *Scratch // made by Keep, shown at KeptDir, read-only; nil for none
	Stdin   []byte
	Output  func(stderr bool, piece []byte) // told of output within its limit as it comes; may be nil, must not keep piece
}

// Box is one sandbox in its life: made, perhaps mounted late, asked a few times,
// closed. One goroutine at a time uses it; Kill may come from any.
type Box struct {
	host   *Host
	slot   *slot
	stage  *stage // what is to become its program; nil once it has, and for a fork
	limits jobs.Limits

	pid     int
	pidfd   *os.File
	conn    int // stream of frames, not blocking
	stdout  int // not blocking
	stderr  int
	started time.Time
	reaped  bool
	idle    bool // SCHED_IDLE until Restart
	status  unix.WaitStatus
	usage   unix.Rusage
	read    []byte                          // of every Turn
	in      []byte                          // read and not yet taken as a frame
	out     []byte                          // to be written
	told    func(stderr bool, piece []byte) // Spec.Output

	closeOnce sync.Once
	used      jobs.Usage    // set by Close
	warmed    time.Duration // CPU time spent before Restart
	overdraft atomic.Bool   // the watch of tier reduced saw too much memory

	mu   sync.Mutex // guards gone, and pidfd against Kill
	gone bool       // pidfd is closed
}

// childEnds are the descriptors that a sandbox's own side gets.
type childEnds struct{ conn, stdout, stderr *os.File }

func (c childEnds) close() { closeAll([]*os.File{c.conn, c.stdout, c.stderr}) }

// newBox takes a slot, sets its limits and makes the three channels.
func (h *Host) newBox(ctx context.Context, limits jobs.Limits) (*Box, childEnds, error) {
	s, err := h.acquire(ctx)
	if err != nil {
		return nil, childEnds{}, err
	}
	return h.boxIn(s, limits, nil)
}

// boxIn is newBox in a slot that was taken, with the stage that lives in it, if any.
func (h *Host) boxIn(s *slot, limits jobs.Limits, st *stage) (*Box, childEnds, error) {
	var err error
	b := &Box{host: h, slot: s, stage: st, limits: limits, conn: -1, stdout: -1, stderr: -1, started: time.Now()}
	var ends childEnds
	fail := func(err error) (*Box, childEnds, error) {
		ends.close()
		b.Close()
		return nil, childEnds{}, fmt.Errorf("make a sandbox: %w", err)
	}
	if err := s.cg.limit(limits.Memory, limits.Processes); err != nil {
		return fail(err)
	}
	if b.conn, ends.conn, err = socketpair(unix.SOCK_STREAM); err != nil {
		return fail(err)
	}
	if b.stdout, ends.stdout, err = pipe(); err != nil {
		return fail(err)
	}
	if b.stderr, ends.stderr, err = pipe(); err != nil {
		return fail(err)
	}
	if err := unix.SetNonblock(b.conn, true); err != nil {
		return fail(err)
	}
	return b, ends, nil
}

func pipe() (ours int, theirs *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, nil, fmt.Errorf("make a pipe: %w", err)
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		return -1, nil, err
	}
	return p[0], os.NewFile(uintptr(p[1]), "output"), nil
}

// spawnMessage is what a zygote gets for one sandbox. The descriptors come in
// the order conn, stdout, stderr, net, attach..., [into], mount..., [code].
type spawnMessage struct {
	UID     int             `json:"uid"`
	Files   int64           `json:"files"`
	Rlimits []rlimit        `json:"rlimits"`
	Attach  int             `json:"attach"`
	Into    bool            `json:"into"`
	Targets []string        `json:"targets"`
	Code    bool            `json:"code,omitempty"`
	Hello   json.RawMessage `json:"hello,omitempty"`
}

// Spawn forks a sealed sandbox. It returns as soon as the child exists: what the
// child's program says first is read by the first Turn. ctx bounds the wait for
// a slot and for the zygote's attention; a fork that has begun ends by itself.
func (z *Zygote) Spawn(ctx context.Context, spec Spec) (*Box, error) {
	b, ends, err := z.host.newBox(ctx, spec.Limits)
	if err != nil {
		return nil, err
	}
	defer ends.close()
	mounts, targets, err := detachAll(spec.Mounts)
	if err != nil {
		b.Close()
		return nil, err
	}
	defer closeAll(mounts)
	m := spawnMessage{
		UID: b.slot.uid, Files: spec.Limits.Files, Rlimits: z.host.rlimits(spec.Limits, true), Targets: targets, Hello: spec.Hello,
	}
	b.idle = spec.Idle && z.host.raises
	files := []*os.File{ends.conn, ends.stdout, ends.stderr, b.slot.net}
	if cg := b.slot.cg; cg != nil {
		m.Attach, files = len(cg.attach), append(files, cg.attach...)
		if cg.into != nil {
			m.Into, files = true, append(files, cg.into)
		}
	}
	files = append(files, mounts...)
	if spec.Code != nil {
		m.Code, files = true, append(files, spec.Code)
	}
	msg, err := json.Marshal(m)
	if err == nil && (len(msg) > maxSpawnMessage || len(files) > maxSpawnFiles) {
		err = fmt.Errorf("fork a sandbox: %d mounts are more than one message holds", len(mounts))
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	if !b.idle {
		z.turns.await()
		defer z.turns.served()
	}
	r := zygoteRequest{b.idle, msg, files, make(chan zygoteReply, 1)}
	select {
	case z.reqs <- r:
	case <-z.dead:
		b.Close()
		return nil, ErrZygoteDead
	case <-ctx.Done():
		b.Close()
		return nil, fmt.Errorf("fork a sandbox: %w", context.Cause(ctx))
	}
	rep := <-r.reply
	if rep.err != nil {
		b.Close()
		return nil, rep.err
	}
	b.born(rep.pid, rep.pidfd)
	return b, nil
}

// What a zygote takes in one message: the kernel passes 253 descriptors at most.
const (
	maxSpawnMessage = 48 << 10
	maxSpawnFiles   = 240
)

// born takes charge of the sandbox's init.
func (b *Box) born(pid, pidfd int) {
	b.pid, b.pidfd = pid, os.NewFile(uintptr(pidfd), "pidfd")
	if b.slot.cg == nil {
		b.watch()
	}
}

// Kill ends everything in the sandbox at once; Turn and Close see to the rest.
func (b *Box) Kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pidfd != nil && !b.gone { // a closed descriptor's number may be another sandbox's by now
		_ = unix.PidfdSendSignal(int(b.pidfd.Fd()), unix.SIGKILL, nil, 0)
	}
}

// Alive reports whether the sandbox's init still runs. It may be asked by any goroutine.
func (b *Box) Alive() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return false
	}
	fds := []unix.PollFd{{Fd: int32(b.pidfd.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return n == 0 && err == nil
}

// Ending reports whether the sandbox's init is on its way out, though something inside
// may still keep it.
func (b *Box) Ending() bool {
	const exiting = 0x4 // PF_EXITING in the kernel's sched.h
	flags, err := strconv.ParseUint(procStat(b.pid, 9), 10, 64)
	return err == nil && flags&exiting != 0
}

// reap waits up to limit for the end of the sandbox's init, and with it of its
// whole pid namespace. It reports whether that end came.
func (b *Box) reap(limit time.Duration) bool {
	if b.reaped || b.pid == 0 {
		return true
	}
	deadline := time.Now().Add(limit)
	for {
		pid, err := unix.Wait4(b.pid, &b.status, unix.WNOHANG|unix.WALL, &b.usage)
		if pid == b.pid || errors.Is(err, unix.ECHILD) {
			b.reaped = true
			return true
		}
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		fds := []unix.PollFd{{Fd: int32(b.pidfd.Fd()), Events: unix.POLLIN}}
		_, _ = unix.Poll(fds, int(left.Milliseconds())+1)
	}
}

// A killed sandbox takes a moment to disappear. answerAfter is how long its caller
// waits for that, stuckAfter how long it may take in all: a process in
// uninterruptible sleep, behind a filesystem that does not answer, takes longer.
const (
	answerAfter = 250 * time.Millisecond
	stuckAfter  = 2 * time.Second
)

// Close kills what is left of the sandbox, reaps it, and gives its slot back. A
// sandbox that will not die keeps its slot until it does; Close does not wait.
// It returns what the sandbox used in its whole life.
func (b *Box) Close() jobs.Usage {
	b.closeOnce.Do(func() {
		if b.stage != nil {
			unix.Close(b.stage.link)
			b.adopt()
		}
		b.Kill()
		for _, fd := range []int{b.conn, b.stdout, b.stderr} {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
		dead := b.reap(answerAfter)
		b.used = jobs.Usage{
			Wall:   time.Since(b.started),
			CPU:    max(b.cpu()-b.warmed, 0),
			Memory: b.slot.cg.peak(),
		}
		if dead {
			b.finish()
			return
		}
		b.used.CPU = b.Used().CPU
		b.slot.cg.killAll()
		go b.outlive()
	})
	return b.used
}

// outlive waits for the end of a sandbox that was killed and does not die.
func (b *Box) outlive() {
	b.host.foreground(b.pid) // its slot is waited for
	if !b.reap(stuckAfter) {
		b.host.quarantine(1)
		b.host.cfg.Log.Warn().Int("slot", b.slot.index).Int("pid", b.pid).Msg("sandbox does not die; its slot is out of use until it does")
		for !b.reap(time.Minute) {
			b.Kill()
		}
		b.host.quarantine(-1)
	}
	b.finish()
}

func (b *Box) finish() {
	b.mu.Lock()
	b.gone = true
	b.mu.Unlock()
	if b.pidfd != nil {
		b.pidfd.Close()
		b.host.forget(b.pid)
	}
	b.host.release(b.slot)
}

// Used reads what the sandbox has used since Restart, or since it was made,
// while it lives: the CPU time of its init alone, and the peak of its memory.
func (b *Box) Used() jobs.Usage {
	var ts unix.Timespec
	_ = unix.ClockGettime(int32(^b.pid<<3|cpuClockSched), &ts) // the process's own clock; see clock_getcpuclockid(3)
	return jobs.Usage{Wall: time.Since(b.started), CPU: max(time.Duration(ts.Nano())-b.warmed, 0), Memory: b.slot.cg.peak()}
}

const cpuClockSched = 2 // CPUCLOCK_SCHED in the kernel's posix-timers.h

// cpu is what the reaped sandbox used in all, its children included.
func (b *Box) cpu() time.Duration {
	return time.Duration(b.usage.Utime.Nano() + b.usage.Stime.Nano())
}

func (h *Host) quarantine(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.quarantined += n
}

// Restart begins the life that counts of a sandbox that waited as a spare: its
// clock, and the limits that are not fixed by its making.
func (b *Box) Restart(limits jobs.Limits) {
	if b.idle {
		b.idle = false
		b.host.foreground(b.pid)
	}
	b.warmed += b.Used().CPU
	b.started = time.Now()
	b.limits.Wall, b.limits.CPU, b.limits.Output, b.limits.Result = limits.Wall, limits.CPU, limits.Output, limits.Result
}
