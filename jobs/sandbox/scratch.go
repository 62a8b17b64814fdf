package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Scratch is a small writable filesystem in memory that outlives one sandbox:
// what a program's build step leaves, its run step finds. It lies in a mount
// namespace that only one thread of ours is in, so that it is nowhere on the
// host and ends with the worker, however that ends.
type Scratch struct {
	host *Host
	dir  string // as the scratch thread sees it
}

// ownMounts gives the calling thread mounts that nobody else sees.
func (h *Host) ownMounts() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return unix.Mount("tmpfs", filepath.Join(h.dir, "root"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m,mode=0700")
}

// NewScratch makes one that holds at most size bytes, with the given files in it.
// Names are plain: no slash, not "." or "..".
func (h *Host) NewScratch(size int64, files map[string][]byte) (*Scratch, error) {
	for name := range files {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return nil, fmt.Errorf("scratch file %q: want a plain name", name)
		}
	}
	s := &Scratch{h, filepath.Join(h.dir, "root", strconv.FormatInt(h.scratches.Add(1), 10))}
	err := h.scratch.do(func() error {
		if err := os.Mkdir(s.dir, 0o700); err != nil {
			return err
		}
		opt := "mode=1777,nr_inodes=16384,size=" + strconv.FormatInt(size, 10)
		if err := unix.Mount("tmpfs", s.dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, opt); err != nil {
			return errors.Join(err, os.Remove(s.dir))
		}
		for name, content := range files { // nothing has run in it yet
			p := filepath.Join(s.dir, name)
			if err := errors.Join(os.WriteFile(p, content, 0o644), os.Chmod(p, 0o644)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make a scratch: %w", err)
	}
	return s, nil
}

// clone is the scratch as a mount that can be attached anywhere.
func (s *Scratch) clone() (f *os.File, err error) {
	err = s.host.scratch.do(func() error {
		fd, err := openTree(unix.AT_FDCWD, s.dir, 0)
		if err == nil {
			f = os.NewFile(uintptr(fd), s.dir)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("copy the mount of a scratch: %w", err)
	}
	return f, nil
}

// Close lets go of it; its memory is free once the last sandbox that sees it is gone.
func (s *Scratch) Close() error {
	return s.host.scratch.do(func() error {
		return errors.Join(unix.Unmount(s.dir, unix.MNT_DETACH), os.Remove(s.dir))
	})
}

// sealedFile is an open file in memory that nobody can change any more.
func sealedFile(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("stdin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("make a standard input: %w", err)
	}
	f := os.NewFile(uintptr(fd), "stdin")
	_, err = f.Write(content)
	if err == nil {
		_, err = f.Seek(0, 0)
	}
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("make a standard input: %w", err)
	}
	return f, nil
}
