package pool

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// storeFailed is the exit code with which the runtime's shim says that reading
// the course failed below it: EX_IOERR of sysexits.h.
const storeFailed = 74

// Reading a sick mount again is bounded: enough to meet the failure that a call met.
const (
	sickFiles = 2000
	sickTime  = 5 * time.Second
)

// sick reads what a call could read, from outside, and returns the first failure;
// that the mount does not answer is one.
func (p *Pool) sick(ctx context.Context, v *version, own []sandbox.Mount) error {
	ctx, cancel := context.WithTimeout(ctx, sickTime+time.Second)
	defer cancel()
	_, err := apart(ctx, p.doors, v.course, func() (struct{}, error) {
		var mounts []sandbox.Mount // ours: the call may be over before the mount answers
		defer func() { closeMounts(mounts) }()
		for _, m := range append(append([]sandbox.Mount{}, v.shared...), own...) {
			fd, err := unix.FcntlInt(m.Dir.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return struct{}{}, os.NewSyscallError("fcntl", err)
			}
			mounts = append(mounts, sandbox.Mount{Dir: os.NewFile(uintptr(fd), m.Dir.Name()), Target: m.Target})
		}
		return struct{}{}, readAll(mounts)
	}, func(struct{}) {})
	return err
}

// readAll reads the beginning of every file, within bounds.
func readAll(mounts []sandbox.Mount) error {
	deadline, left := time.Now().Add(sickTime), sickFiles
	for _, m := range mounts {
		tree := os.DirFS(fmt.Sprintf("/proc/self/fd/%d", m.Dir.Fd()))
		err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if left--; left < 0 || time.Now().After(deadline) {
				return fs.SkipAll
			}
			if !d.Type().IsRegular() {
				return nil
			}
			f, err := tree.Open(p)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.CopyN(io.Discard, f, 1)
			if err == io.EOF {
				err = nil
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", m.Target, err)
		}
	}
	return nil
}
