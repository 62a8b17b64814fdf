package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount shows a directory of the host, read-only, below /course.
type Mount struct {
	Dir    *os.File // opened O_PATH; see OpenBeneath
	Target string   // a path below /course, clean and relative; "." is /course itself, for Exec only
}

// OpenBeneath opens the directory at the relative path below root, without
// following any link and without leaving root. The error is fs.ErrNotExist for
// whatever is not a directory there.
func OpenBeneath(root *os.File, p string) (*os.File, error) {
	fd, err := unix.Openat2(int(root.Fd()), p, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENAMETOOLONG):
		err = unix.ENOENT
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: p, Err: err}
	}
	return os.NewFile(uintptr(fd), p), nil
}

// detach makes a read-only, inert copy of m's mount.
func (m Mount) detach() (*os.File, error) {
	if m.Target == "" || path.Clean(m.Target) != m.Target || m.Target[0] == '/' || strings.HasPrefix(m.Target, "..") {
		return nil, fmt.Errorf("mount target %q: want a clean path below %s", m.Target, courseDir)
	}
	fd, err := openTree(int(m.Dir.Fd()), "", 0)
	if err != nil {
		return nil, fmt.Errorf("copy the mount of %s: %w", m.Dir.Name(), err)
	}
	f := os.NewFile(uintptr(fd), m.Dir.Name())
	if err := setMountAttr(fd, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("make the mount of %s read-only: %w", m.Dir.Name(), err)
	}
	return f, nil
}

func detachAll(mounts []Mount) (files []*os.File, targets []string, err error) {
	for _, m := range mounts {
		f, err := m.detach()
		if err != nil {
			closeAll(files)
			return nil, nil, err
		}
		files, targets = append(files, f), append(targets, m.Target)
	}
	return files, targets, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// Mount attaches mounts to a sealed sandbox that has not been given work yet.
func (b *Box) Mount(ctx context.Context, mounts []Mount) error {
	if len(mounts) == 0 {
		return nil
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	files, targets, err := detachAll(mounts)
	if err != nil {
		return err
	}
	defer closeAll(files)
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", b.pid)) // ours to reap, so the pid is ours
	if err != nil {
		return fmt.Errorf("open the sandbox's mounts: %w", err)
	}
	defer ns.Close()
	return b.host.mounter.do(func() (err error) {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("enter the sandbox's mounts: %w", err)
		}
		defer func() { err = errors.Join(err, b.host.comeBack()) }()
		return attachBelow(files, targets)
	})
}

// attachBelow runs inside the sandbox's mount namespace, where /course is our
// own tmpfs: nothing inside has run yet, so its paths are what sealing made them.
func attachBelow(files []*os.File, targets []string) error {
	dir, err := unix.Open(courseDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", courseDir, err)
	}
	defer unix.Close(dir)
	if err := setMountAttr(dir, 0, unix.MOUNT_ATTR_RDONLY); err != nil {
		return fmt.Errorf("open %s for mounting: %w", courseDir, err)
	}
	for i, f := range files {
		if err := os.MkdirAll(path.Join(courseDir, targets[i]), 0o755); err != nil {
			return err
		}
		if err := unix.MoveMount(int(f.Fd()), "", dir, targets[i], unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("mount %s: %w", targets[i], err)
		}
	}
	return setMountAttr(dir, unix.MOUNT_ATTR_RDONLY, 0)
}

// comeBack returns the mounter's thread to the worker's own mounts.
func (h *Host) comeBack() error {
	err := unix.Setns(int(h.ownNS.Fd()), unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Fchdir(int(h.ownRoot.Fd()))
	}
	if err == nil {
		err = unix.Chroot(".")
	}
	if err != nil {
		// A thread in the wrong place must not serve another sandbox.
		panic(fmt.Sprintf("sandbox: return from a sandbox's mounts: %v", err))
	}
	return nil
}
