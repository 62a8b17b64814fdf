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
	at   string // as the sandbox does
	give bool   // the first sandbox is to own it; touched on the scratch thread
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

// NewScratch makes one that holds at most size bytes, with the given files in it,
// to be shown at /work. Names are plain: no slash, not "." or "..".
func (h *Host) NewScratch(size int64, files map[string][]byte) (*Scratch, error) {
	tree := map[string]Entry{}
	for name, content := range files {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return nil, fmt.Errorf("scratch file %q: want a plain name", name)
		}
		tree[name] = Entry{Content: content}
	}
	return h.newScratch(&Scratch{host: h, at: workDir}, size, "1777", tree)
}

// NewGradeTree makes one with a whole tree in it, by path, to be shown at /grade.
// All of it belongs to the first sandbox that sees it.
func (h *Host) NewGradeTree(size int64, tree map[string]Entry) (*Scratch, error) {
	return h.newScratch(&Scratch{host: h, at: gradeDir, give: true}, size, "0755", tree)
}

func (h *Host) newScratch(s *Scratch, size int64, mode string, tree map[string]Entry) (*Scratch, error) {
	s.dir = filepath.Join(h.dir, "root", strconv.FormatInt(h.scratches.Add(1), 10))
	err := h.scratch.do(func() error {
		if err := os.Mkdir(s.dir, 0o700); err != nil {
			return err
		}
		opt := "mode=" + mode + ",nr_inodes=16384,size=" + strconv.FormatInt(size, 10)
		if err := unix.Mount("tmpfs", s.dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, opt); err != nil {
			return errors.Join(err, os.Remove(s.dir))
		}
		if err := fill(s.dir, tree); err != nil { // nothing has run in it yet
			return errors.Join(err, unix.Unmount(s.dir, unix.MNT_DETACH), os.Remove(s.dir))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make a scratch: %w", err)
	}
	return s, nil
}

// clone is the scratch as a mount that can be attached anywhere. The first time
// it gives what is to be given to uid; -1 keeps it ours.
func (s *Scratch) clone(uid int) (f *os.File, err error) {
	err = s.host.scratch.do(func() error {
		if s.give && uid >= 0 {
			if err := giveTree(s.dir, uid); err != nil {
				return err
			}
		}
		s.give = false
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

// ownerOf is the user that a slot's sandbox is outside of it; in a user namespace
// that is ourselves, -1.
func (h *Host) ownerOf(s *slot) int {
	if h.walls.Userns {
		return -1
	}
	return s.uid
}

// Open opens what is at a path in the scratch for reading, whatever it is: it
// follows no link, and waits for nobody on the other end of a pipe.
func (s *Scratch) Open(p string) (f *os.File, err error) {
	err = s.host.scratch.do(func() error {
		dir, err := unix.Open(s.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		fd, err := unix.Openat2(dir, p, &unix.OpenHow{
			Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		})
		if err == nil {
			f = os.NewFile(uintptr(fd), p)
		}
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: p, Err: err}
	}
	return f, nil
}

// Close lets go of it; its memory is free once the last sandbox that sees it is gone.
func (s *Scratch) Close() error {
	return s.host.scratch.do(func() error {
		return errors.Join(unix.Unmount(s.dir, unix.MNT_DETACH), os.Remove(s.dir))
	})
}

// Sealed is an open file in memory that nobody can change any more.
func Sealed(content []byte) (*os.File, error) {
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
