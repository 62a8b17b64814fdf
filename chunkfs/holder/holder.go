// Package holder keeps a FUSE device open while the processes that serve it come and go.
//
// It guarantees that the death of a server, by kill -9 or for an upgrade, fails
// no read: requests wait in the kernel, the next server is given the same
// descriptors, and asks the kernel to send again what the dead one took. It ends
// when the mount is gone. It knows nothing of filesystems, so there is little in it that could fail.
//
// It refuses to retry a server that never came up once: that is a mistake in
// how it was called. It needs a kernel of at least 6.9 (FUSE_NOTIFY_RESEND); on
// an older one the requests of a dead server would wait for ever, see Supported.
package holder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// Config is what a holder holds and whom it starts.
type Config struct {
	Files   []*os.File       // given to every server from descriptor 3 on; the first is the device
	Command func() *exec.Cmd // a new server, without its descriptors; it must call Join
	Ready   func()           // called once, when the first server serves
	Unmount func()           // called when ctx ends; the mount must be gone or going after it
	Grace   time.Duration    // for users of an unmounted filesystem, before its server is killed
	Upgrade <-chan os.Signal // each asks for a server from the binary as it is now
	Log     zerolog.Logger
}

// Supported says whether this kernel can survive the death of a server.
func Supported() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	return atLeast(unix.ByteSliceToString(u.Release[:]), 6, 9)
}

func atLeast(release string, major, minor int) bool {
	a, rest, _ := strings.Cut(release, ".")
	b := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	x, err1 := strconv.Atoi(a)
	y, err2 := strconv.Atoi(b)
	return err1 == nil && err2 == nil && (x > major || x == major && y >= minor)
}

// Run starts a server and replaces it until the mount is gone or ctx ends.
func Run(ctx context.Context, cfg Config) error {
	h := &holder{cfg: cfg}
	wait := time.Duration(0)
	for {
		s, err := h.start()
		if err != nil && !h.served {
			return err
		}
		if err != nil { // such as no memory; the mount waits as long as we try
			cfg.Log.Error().Err(err).Msg("cannot start a server")
			wait = min(max(2*wait, 10*time.Millisecond), time.Second)
		} else {
			wait = h.watch(ctx, s, wait)
		}
		switch {
		case h.gone():
			return nil
		case !h.served:
			return s.err
		}
		time.Sleep(wait)
	}
}

type holder struct {
	cfg    Config
	served bool // a server was ready once
}

// server is one run of the command, and our end of the socket to it.
type server struct {
	cmd  *exec.Cmd
	talk *os.File
	err  error         // of the run
	done chan struct{} // closed when it is set
	said chan struct{} // closed when the server is ready
}

func (h *holder) start() (*server, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "holder")
	defer theirs.Close()
	s := &server{
		cmd: h.cfg.Command(), talk: os.NewFile(uintptr(fds[0]), "server"),
		done: make(chan struct{}), said: make(chan struct{}),
	}
	s.cmd.ExtraFiles = append(append([]*os.File(nil), h.cfg.Files...), theirs)
	s.cmd.Dir = "/" // never inside a mount of ours
	if s.cmd.SysProcAttr == nil {
		s.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	s.cmd.SysProcAttr.Setpgid = true // a terminal's ^C is for us; we unmount
	if err := s.cmd.Start(); err != nil {
		s.talk.Close()
		return nil, fmt.Errorf("start server: %w", err)
	}
	go func() {
		buf := make([]byte, 16)
		if n, err := s.talk.Read(buf); err == nil && string(buf[:n]) == wordReady {
			close(s.said)
		}
		s.err = s.cmd.Wait()
		s.talk.Close()
		close(s.done)
	}()
	return s, nil
}

// watch returns when s has ended, and how long to wait before the next one.
func (h *holder) watch(ctx context.Context, s *server, wait time.Duration) time.Duration {
	ready, end := s.said, ctx.Done()
	var kill <-chan time.Time
	started := time.Now()
	serves := func() {
		ready = nil
		h.cfg.Log.Info().Int("pid", s.cmd.Process.Pid).Dur("after", time.Since(started)).Msg("serving")
		if !h.served {
			h.served = true
			h.cfg.Ready()
		}
	}
	for {
		select {
		case <-ready:
			serves()
		case <-h.cfg.Upgrade:
			h.cfg.Log.Info().Int("pid", s.cmd.Process.Pid).Msg("replacing the server")
			_, _ = s.talk.Write([]byte(wordDrain)) // a dead one needs no telling
		case <-end:
			end = nil
			h.cfg.Unmount()
			t := time.NewTimer(h.cfg.Grace)
			defer t.Stop()
			kill = t.C
		case <-kill:
			_ = s.cmd.Process.Kill()
		case <-s.done:
			select {
			case <-ready: // both were there, and chance chose
				serves()
			default:
			}
			if ready == nil {
				h.cfg.Log.Info().AnErr("ended", s.err).Msg("server ended")
				return 0
			}
			if h.served { // the first one's failure is Run's
				h.cfg.Log.Error().AnErr("ended", s.err).Msg("server ended before it served")
			}
			return min(max(2*wait, 10*time.Millisecond), time.Second)
		}
	}
}

// gone says that the kernel has given the mount up: its device polls as broken.
func (h *holder) gone() bool {
	p := []unix.PollFd{{Fd: int32(h.cfg.Files[0].Fd())}}
	_, err := unix.Poll(p, 0)
	return err == nil && p[0].Revents&unix.POLLERR != 0
}

const (
	wordReady = "ready"
	wordDrain = "drain"
)

// Join is the server's side: the n files that the holder keeps, and the line to it.
func Join(n int) (files []*os.File, line *Line, err error) {
	for i := range n + 1 {
		unix.CloseOnExec(3 + i)
		f := os.NewFile(uintptr(3+i), "held-"+strconv.Itoa(i))
		if _, err := f.Stat(); err != nil {
			return nil, nil, fmt.Errorf("this command is started by mount only: descriptor %d: %w", 3+i, err)
		}
		files = append(files, f)
	}
	return files[:n], &Line{files[n]}, nil
}

// Line is how a server hears from its holder.
type Line struct{ f *os.File }

// Ready tells the holder that requests are being answered.
func (l *Line) Ready() error {
	if _, err := l.f.Write([]byte(wordReady)); err != nil {
		return fmt.Errorf("tell holder: %w", err)
	}
	return nil
}

// ErrAlone says that the holder died. The server serves on, but its own death will now be the mount's.
var ErrAlone = errors.New("the holder is gone")

// Wait returns nil when the holder asks the server to make place for another.
func (l *Line) Wait() error {
	buf := make([]byte, 16)
	for {
		n, err := l.f.Read(buf)
		switch {
		case err != nil || n == 0:
			return ErrAlone
		case string(buf[:n]) == wordDrain:
			return nil
		}
	}
}
