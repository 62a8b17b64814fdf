package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ZygoteConfig is a warm interpreter to fork sandboxes from.
type ZygoteConfig struct {
	Root Root
	Argv []string        // the interpreter and its program; the control socket is descriptor 4
	Env  []string        // its whole environment, and that of every sandbox
	Init json.RawMessage // handed to the program as "init" before it gets ready
	Boot time.Duration   // most time to get ready; 30 s when 0
}

// Zygote is a trusted, single-threaded interpreter that has never run course
// code and forks a sealed child for each sandbox. It is safe for concurrent use.
//
// The protocol on its control socket (seqpacket, one message each way at a time):
//
//	worker -> {"walls":…, "init":…}            zygote -> {"ready":true}
//	worker -> spec + descriptors               zygote -> {"pid":n} + pidfd, or {"error":"…"}
type Zygote struct {
	host  *Host
	cmd   *exec.Cmd
	ctl   int
	reqs  chan zygoteRequest
	turns attention
	quit  chan struct{} // closed by Close
	dead  chan struct{} // closed when the process has ended
	once  sync.Once
	forks atomic.Int64
	log   *tail         // the end of what it wrote to its standard error
	heard chan struct{} // closed when log has all of it
}

type zygoteRequest struct {
	idle  bool // nobody waits for this one
	msg   []byte
	files []*os.File
	reply chan zygoteReply
}

type zygoteReply struct {
	pid   int
	pidfd int
	err   error
}

// ErrZygoteDead means that the zygote has ended; a new one can be started.
var ErrZygoteDead = errors.New("the runtime's zygote has ended")

// StartZygote starts the interpreter in its own root and waits until it is warm,
// no longer than ctx and c.Boot last.
func (h *Host) StartZygote(ctx context.Context, c ZygoteConfig) (*Zygote, error) {
	if c.Boot == 0 {
		c.Boot = 30 * time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.Boot, fmt.Errorf("it was not ready within %v", c.Boot))
	defer cancel()
	ours, theirs, err := socketpair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		unix.Close(ours)
		theirs.Close()
		return nil, err
	}
	stage, err := h.startStage(&c.Root, &syscall.SysProcAttr{Setsid: true}, [3]*os.File{nil, errW, errW}, []*os.File{theirs})
	errW.Close()
	theirs.Close() // its end is now the zygote's alone: when that ends, we read the end of file
	if err != nil {
		unix.Close(ours)
		errR.Close()
		return nil, err
	}
	z := &Zygote{
		host: h, cmd: stage.cmd, ctl: ours, reqs: make(chan zygoteRequest), turns: attention{host: h, pid: stage.cmd.Process.Pid},
		quit: make(chan struct{}), dead: make(chan struct{}), log: &tail{max: 8 << 10}, heard: make(chan struct{}),
	}
	go func() {
		defer close(z.heard)
		_, _ = io.Copy(z.log, errR) // ends when every holder of the pipe is gone
		errR.Close()
	}()
	hello, err := json.Marshal(map[string]any{"walls": h.walls, "init": c.Init})
	if err == nil {
		err = stage.become(ctx, stageConfig{Argv: c.Argv, Env: c.Env}, nil)
	}
	if err == nil {
		err = until(ctx, ours, func() error { return z.boot(hello) })
	}
	if err != nil {
		h.endSoon(stage.cmd)
		unix.Close(ours)
		return nil, fmt.Errorf("start runtime %s: %w%s", c.Argv[0], err, z.lastWords())
	}
	z.collapse()
	go z.serve()
	return z, nil
}

func (z *Zygote) boot(hello []byte) error {
	if err := unix.Sendmsg(z.ctl, hello, nil, nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("send configuration: %w", err)
	}
	var b [256]byte
	n, _, err := receive(z.ctl, b[:])
	if err != nil {
		return fmt.Errorf("wait until it is ready: %w", err)
	}
	if !bytes.Contains(b[:n], []byte(`"ready"`)) {
		return fmt.Errorf("it ended before it was ready")
	}
	// From now on a fork that does not answer within this time is a dead zygote.
	return setReceiveTimeout(z.ctl, 10*time.Second)
}

// serve owns the control socket and the process. It notices a death at once, not
// at the next request.
func (z *Zygote) serve() {
	defer close(z.dead)
	var last chan zygoteReply
	var rep zygoteReply
	gone := z.hungUp()
	for rep.err == nil || !errors.Is(rep.err, ErrZygoteDead) {
		if last != nil {
			last <- rep
			last = nil
		}
		select {
		case <-z.quit:
			rep.err = ErrZygoteDead
		case <-gone:
			rep.err = ErrZygoteDead
		case r := <-z.reqs:
			last, rep = r.reply, z.attend(r)
		}
	}
	z.host.endSoon(z.cmd)
	_ = unix.Shutdown(z.ctl, unix.SHUT_RDWR) // for gone, where the process will not end
	<-gone
	unix.Close(z.ctl)
	z.host.reapOrphans() // before the slot of a fork that failed is anybody else's
	if last != nil {
		rep.err = fmt.Errorf("%w%s", rep.err, z.lastWords())
		last <- rep
	}
}

// lastWords are what a process that was ended wrote; one that will not die, or left
// somebody who holds its standard error, may have more to say.
func (z *Zygote) lastWords() string {
	select {
	case <-z.heard:
	case <-time.After(stuckAfter):
	}
	return z.log.quote()
}

// hungUp returns a channel that closes when the zygote has closed its end.
func (z *Zygote) hungUp() <-chan struct{} {
	c := make(chan struct{})
	go func() {
		defer close(c)
		fds := []unix.PollFd{{Fd: int32(z.ctl)}} // POLLHUP is always reported
		for {
			n, err := unix.Poll(fds, -1)
			if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	return c
}

func (z *Zygote) attend(r zygoteRequest) zygoteReply {
	if !r.idle {
		return z.fork(r)
	}
	z.turns.begin()
	rep := z.fork(r)
	if !z.turns.end() && rep.err == nil {
		z.host.background(rep.pid) // it was not born there
	}
	return rep
}

func (z *Zygote) fork(r zygoteRequest) zygoteReply {
	z.host.forking.RLock() // until the child is known by its pid
	defer z.host.forking.RUnlock()
	fds := make([]int, len(r.files))
	for i, f := range r.files {
		fds[i] = int(f.Fd())
	}
	if err := unix.Sendmsg(z.ctl, r.msg, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL); err != nil {
		return zygoteReply{err: fmt.Errorf("%w: send: %w", ErrZygoteDead, err)}
	}
	var b [1024]byte
	n, fd, err := receive(z.ctl, b[:])
	if err != nil || n == 0 {
		return zygoteReply{err: fmt.Errorf("%w: receive: %v", ErrZygoteDead, err)}
	}
	var rep struct {
		PID   int    `json:"pid"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal(b[:n], &rep); err != nil || rep.Error != "" || rep.PID <= 0 || fd < 0 {
		if fd >= 0 {
			unix.Close(fd)
		}
		return zygoteReply{err: fmt.Errorf("fork a sandbox: %s%s", rep.Error, z.log.quote())}
	}
	z.forks.Add(1)
	z.host.remember(rep.PID)
	return zygoteReply{pid: rep.PID, pidfd: fd}
}

// Forks is how many sandboxes were forked so far. Replace a zygote now and then:
// its hash seed and address layout are those of all its children.
func (z *Zygote) Forks() int64 { return z.forks.Load() }

// Dead is closed when the zygote has ended.
func (z *Zygote) Dead() <-chan struct{} { return z.dead }

// Close ends the zygote; its sandboxes live on.
func (z *Zygote) Close() {
	z.once.Do(func() { close(z.quit) })
	<-z.dead
}

// receive reads one message and at most one descriptor (-1 when there is none).
func receive(sock int, b []byte) (n, fd int, err error) {
	oob := make([]byte, unix.CmsgSpace(4*4))
	var oobn int
	for {
		n, oobn, _, _, err = unix.Recvmsg(sock, b, oob, unix.MSG_CMSG_CLOEXEC)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	fd = -1
	if err != nil || oobn == 0 {
		return n, fd, err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return n, fd, err
	}
	for i := range msgs {
		got, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue
		}
		for _, f := range got {
			if fd >= 0 {
				unix.Close(f)
				continue
			}
			fd = f
		}
	}
	return n, fd, nil
}

func setReceiveTimeout(fd int, d time.Duration) error {
	tv := unix.NsecToTimeval(max(d, time.Millisecond).Nanoseconds())
	return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex // guards b
	b   []byte
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - t.max; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) quote() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(bytes.TrimSpace(t.b)) == 0 {
		return ""
	}
	return fmt.Sprintf("; it wrote: %q", bytes.TrimSpace(t.b))
}
