package pool

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// A mount that is replaced (its daemon died, another was mounted in its place)
// leaves the descriptors of the old one behind: they answer ENOTCONN, or ESTALE
// over a network. The path leads to the new one.

func isStale(err error) bool {
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ESTALE)
}

// reopen lets go of every version and opens the mount point again. Spares of a
// version that was let go of are never claimed: see tender.claim. Versions in use
// are closed by their last user.
func (c *Courses) reopen() {
	root, err := os.Open(c.path)
	if err != nil {
		return // the mount is not back: what asks next says so
	}
	c.mu.Lock()
	old := c.root
	c.root = root
	var idle []*version
	for k, v := range c.open {
		delete(c.open, k)
		v.stale = true
		if v.users == 0 {
			idle = append(idle, v)
		}
	}
	c.mu.Unlock()
	old.Close()
	for _, v := range idle {
		v.close()
	}
}

// holdAgain is hold, once more where the mount was replaced.
func (c *Courses) holdAgain(course, name string) (*version, error) {
	v, err := c.hold(course, name)
	if isStale(err) {
		c.reopen()
		v, err = c.hold(course, name)
	}
	return v, err
}

// mountpoint returns the root, which the caller closes.
func (c *Courses) mountpoint() (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fd, err := unix.FcntlInt(c.root.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), c.path), nil
}
