package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	_ "embed"

	"golang.org/x/sys/unix"
)

// SealPy is the Python side of sealing; a zygote's root must hold it.
//
//go:embed seal.py
var SealPy []byte

// stage is this program started again, on its way to becoming another: it has
// been told its root, and waits for the rest.
type stage struct {
	host  *Host
	cmd   *exec.Cmd
	link  int
	slot  *slot // that it lives in; nil for a zygote's
	pidfd int   // -1 for a zygote's
	idle  bool  // it waits as SCHED_IDLE
}

// startStage starts this program again as a stage and tells it its root; see
// stageRoot. A pidfd that attr asks for is the stage's. extra are its program's descriptors from 4 on.
func (h *Host) startStage(root *Root, attr *syscall.SysProcAttr, stdio [3]*os.File, extra []*os.File) (*stage, error) {
	ours, theirs, err := socketpair(unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"prairielambda", stageArg}, Env: []string{}}
	cmd.Dir = "/"
	cmd.ExtraFiles = append([]*os.File{theirs}, extra...)
	if stdio[0] != nil { // a nil *os.File in the interface would not mean /dev/null
		cmd.Stdin = stdio[0]
	}
	if stdio[1] != nil {
		cmd.Stdout = stdio[1]
	}
	if stdio[2] != nil {
		cmd.Stderr = stdio[2]
	}
	attr.Pdeathsig = syscall.SIGKILL
	attr.Cloneflags |= syscall.CLONE_NEWNS
	cmd.SysProcAttr = attr
	h.forking.RLock()
	err = h.spawner.do(cmd.Start)
	if err == nil {
		h.remember(cmd.Process.Pid)
	}
	h.forking.RUnlock()
	theirs.Close()
	if err != nil {
		unix.Close(ours)
		return nil, fmt.Errorf("start a sandbox stage: %w", err)
	}
	s := &stage{host: h, cmd: cmd, link: ours, pidfd: -1}
	if attr.PidFD != nil {
		s.pidfd = *attr.PidFD
	}
	if err := tell(ours, stageRoot{Root: root, Dir: h.dir + "/root", KeepProc: h.walls.Userns}, nil); err != nil {
		err = s.fault(err)
		s.end()
		return nil, fmt.Errorf("build a sandbox: %w", err)
	}
	return s, nil
}

// become has the stage become its program, and returns once it has, or once ctx
// ends: the root may lie on a mount that does not answer. The stage is used up and
// its process the caller's, also where this fails.
func (s *stage) become(ctx context.Context, c stageConfig, files []*os.File) error {
	defer unix.Close(s.link)
	c.Raise, c.Nice = s.idle, s.host.nice
	// Its end of the link closes when it becomes the program; what it says before
	// that is why it could not.
	err := until(ctx, s.link, func() error { return s.fault(tell(s.link, c, files)) })
	if err != nil {
		return fmt.Errorf("build a sandbox: %w", err)
	}
	return nil
}

// until runs f, which waits for what comes through sock; the end of ctx ends the
// connection, and so f.
func until(ctx context.Context, sock int, f func() error) error {
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(over)
		_ = unix.Shutdown(sock, unix.SHUT_RDWR)
	})
	err := f()
	if !stop() {
		<-over // from now on the descriptor may be closed
		return context.Cause(ctx)
	}
	return err
}

// fault is what the stage says is wrong, or err; nil once it is the program.
func (s *stage) fault(err error) error {
	var said []byte
	var b [4 << 10]byte
	for {
		n, e := unix.Read(s.link, b[:])
		if errors.Is(e, unix.EINTR) {
			continue
		}
		if n <= 0 {
			break
		}
		said = append(said, b[:n]...)
	}
	if len(said) > 0 {
		err = errors.New(string(said))
	}
	return err
}

// end kills a stage that nothing has been told but its root, and waits for it. Its
// slot stays its owner's to give back.
func (s *stage) end() {
	s.host.end(s.cmd)
	unix.Close(s.link)
	if s.pidfd >= 0 {
		unix.Close(s.pidfd)
	}
}

// socketpair makes a connected pair; ours does not block, theirs does.
func socketpair(kind int) (ours int, theirs *os.File, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	return p[0], os.NewFile(uintptr(p[1]), "sandbox"), nil
}
