package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
)

// Command is a program to run sealed in a root of its own.
type Command struct {
	Root Root
	Argv []string // Argv[0] is a path inside the root
	Env  []string // the whole environment
	Dir  string   // working directory inside the root
}

// Exec starts a program in a fresh sandbox, with the same walls as a zygote's
// child. Wait collects its output and its end.
func (h *Host) Exec(ctx context.Context, spec Spec, c Command) (*Box, error) {
	key, err := rootKey(c.Root)
	if err != nil {
		return nil, err
	}
	b, ends, err := h.newStagedBox(ctx, spec.Limits, c.Root, key)
	if err != nil {
		return nil, err
	}
	defer ends.close()
	unix.Close(b.conn) // a program of its own kind speaks no frames
	b.conn, b.told = -1, spec.Output
	mounts, targets, err := detachAll(spec.Mounts)
	if err != nil {
		b.Close()
		return nil, err
	}
	defer func() { closeAll(mounts) }()
	if spec.Kept != nil {
		kept, err := spec.Kept.show()
		if err != nil {
			b.Close()
			return nil, err
		}
		mounts, targets = append(mounts, kept), append(targets, keptTarget)
	}
	var at string
	if spec.Scratch != nil {
		at = spec.Scratch.at
		work, err := spec.Scratch.clone(h.ownerOf(b.slot))
		if err != nil {
			b.Close()
			return nil, err
		}
		mounts = append(mounts, work)
	}
	stdin, err := Sealed(spec.Stdin)
	if err != nil {
		b.Close()
		return nil, err
	}
	defer stdin.Close()
	s := &seal{
		walls: h.walls, UID: b.slot.uid, Files: spec.Limits.Files, Rlimits: h.rlimits(spec.Limits, false), Targets: targets,
		Net: !h.walls.Userns, Work: at,
	}
	if at != "" {
		s.Landlock = s.Landlock.with(at)
	}
	files := []*os.File{stdin, ends.stdout, ends.stderr, b.slot.net}
	if cg := b.slot.cg; cg != nil {
		s.Attach, files = len(cg.attach), append(files, cg.attach...)
	}
	if err := b.become(ctx, stageConfig{Argv: c.Argv, Env: c.Env, Dir: c.Dir, Seal: s}, append(files, mounts...)); err != nil {
		b.Close()
		return nil, err
	}
	h.ready.want(c.Root, key)
	return b, nil
}

// newStagedBox is newBox with a stage in it: one that waits in the root, or a new one.
func (h *Host) newStagedBox(ctx context.Context, limits jobs.Limits, root Root, key string) (*Box, childEnds, error) {
	if st := h.ready.take(key); st != nil {
		return h.boxIn(st.slot, limits, st)
	}
	slot, err := h.acquire(ctx)
	if err != nil {
		return nil, childEnds{}, err
	}
	st, err := h.stageIn(slot, root, false)
	if err != nil {
		h.release(slot)
		return nil, childEnds{}, err
	}
	return h.boxIn(slot, limits, st)
}

// become has the stage become its program; from then on the Box is the one that
// waits for the process, and counts what it uses.
func (b *Box) become(ctx context.Context, c stageConfig, files []*os.File) error {
	ctx, cancel := context.WithTimeoutCause(ctx, stageWithin, errNoStage)
	defer cancel()
	st := b.stage
	err := st.become(ctx, c, files)
	b.adopt()
	b.warmed = b.Used().CPU
	return err
}

// stageWithin bounds the making of a root, in which a mount may be slow or stuck.
const stageWithin = 20 * time.Second

var errNoStage = fmt.Errorf("its root was not there within %v", stageWithin)

// adopt makes the stage's process the Box's own, which Close ends and waits for.
func (b *Box) adopt() {
	st := b.stage
	b.stage = nil
	b.born(st.cmd.Process.Pid, st.pidfd)
	_ = st.cmd.Process.Release()
}

// Dial connects to a unix socket that a program inside listens on; path is as
// the program sees it. The error is ErrNotListening while nothing does.
func (b *Box) Dial(path string) (net.Conn, error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", b.pid))
	if err != nil {
		return nil, fmt.Errorf("open the sandbox's mounts: %w", err)
	}
	defer ns.Close()
	if !b.Alive() { // whoever waits for it may have been faster, and the pid be another's
		return nil, ErrNotListening
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	// The path is resolved inside the sandbox, where a link leads nowhere else.
	err = b.host.mounter.do(func() (err error) {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("enter the sandbox's mounts: %w", err)
		}
		defer func() { err = errors.Join(err, b.host.comeBack()) }()
		return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	})
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.EAGAIN):
		return nil, ErrNotListening
	case err != nil:
		return nil, fmt.Errorf("connect to %s inside: %w", path, err)
	}
	return net.FileConn(f)
}

// ErrNotListening means that no program inside accepts connections there (yet).
var ErrNotListening = errors.New("nothing listens inside the sandbox")
