package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sort"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/internal/manifest"
)

// dirSource is a root filesystem in a directory. Nothing is followed out of it,
// and what is mounted below it is left out, as are its own mount points' contents.
type dirSource struct {
	dir *os.File
	dev uint64
}

func openDir(p string) (*dirSource, error) {
	f, err := os.Open(p)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "stat", Path: p, Err: err}
	}
	return &dirSource{f, st.Dev}, nil
}

func (d *dirSource) config(context.Context) (Config, error) { return Config{}, nil }

// Close lets go of the directory.
func (d *dirSource) Close() error { return d.dir.Close() }

func (d *dirSource) openat(name string, flags uint64) (*os.File, error) {
	full := filepath.Join(d.dir.Name(), name)
	for {
		fd, err := unix.Openat2(int(d.dir.Fd()), name, &unix.OpenHow{
			Flags:   flags | unix.O_CLOEXEC | unix.O_NOFOLLOW,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		})
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: full, Err: err}
		}
		return os.NewFile(uintptr(fd), full), nil
	}
}

type dirWalk struct {
	*dirSource
	ctx   context.Context // of the one walk that it lives in
	fn    func(int, *header, io.Reader) error
	links map[uint64]string // first names, by inode
}

func (d *dirSource) walk(ctx context.Context, fn func(int, *header, io.Reader) error) error {
	return (&dirWalk{d, ctx, fn, map[uint64]string{}}).visit(".")
}

func (w *dirWalk) visit(name string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	h, st, err := w.header(name)
	if err != nil {
		return err
	}
	if h.link || h.typ != manifest.File {
		err = w.fn(0, h, nil)
	} else {
		err = w.file(name, h, st)
	}
	if err != nil || h.link || h.typ != manifest.Dir || st.Dev != w.dev {
		return err
	}
	f, err := w.openat(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	f.Close()
	if err != nil {
		return err
	}
	sort.Strings(names)
	for _, n := range names {
		if err := w.visit(path.Join(name, n)); err != nil {
			return err
		}
	}
	return nil
}

// header reads what there is to know of name without opening what it names.
func (w *dirWalk) header(name string) (*header, *unix.Stat_t, error) {
	f, err := w.openat(name, unix.O_PATH)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	fd := int(f.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, nil, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	h := &header{name: name, mode: uint16(st.Mode & 0o7777), uid: st.Uid, gid: st.Gid, mtime: st.Mtim.Sec}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.typ = manifest.Dir
	case unix.S_IFLNK:
		b := make([]byte, 4097)
		n, err := unix.Readlinkat(fd, "", b)
		if err != nil {
			return nil, nil, &os.PathError{Op: "readlink", Path: f.Name(), Err: err}
		}
		h.typ, h.target = manifest.Symlink, string(b[:n])
	case unix.S_IFREG:
		h.typ, h.size = manifest.File, st.Size
	case unix.S_IFCHR:
		h.typ = manifest.CharDevice
	case unix.S_IFBLK:
		h.typ = manifest.BlockDevice
	case unix.S_IFIFO:
		h.typ = manifest.Fifo
	default:
		h.typ = manifest.Socket
	}
	if h.typ == manifest.CharDevice || h.typ == manifest.BlockDevice {
		h.major, h.minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	if h.typ != manifest.Dir && st.Nlink > 1 {
		if first, ok := w.links[st.Ino]; ok {
			h.link, h.target, h.size = true, first, 0
			return h, &st, nil
		}
		w.links[st.Ino] = name
	}
	h.xattrs, err = readXattrs(fmt.Sprintf("/proc/self/fd/%d", fd), h.typ)
	return h, &st, err
}

func readXattrs(p string, typ manifest.Type) (out []manifest.Xattr, err error) {
	if typ != manifest.File && typ != manifest.Dir {
		return nil, nil // nothing that we keep
	}
	b := make([]byte, maxXattrs)
	n, err := unix.Listxattr(p, b)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list attributes: %w", err)
	}
	var names []string
	for from, i := 0, 0; i < n; i++ {
		if b[i] == 0 {
			if name := string(b[from:i]); keepXattr(name) {
				names = append(names, name)
			}
			from = i + 1
		}
	}
	sort.Strings(names)
	for _, name := range names {
		v := make([]byte, maxXattrs)
		n, err := unix.Getxattr(p, name, v)
		if err != nil {
			return nil, fmt.Errorf("read attribute %s: %w", name, err)
		}
		out = append(out, manifest.Xattr{Name: name, Value: string(v[:n])})
	}
	return out, nil
}

// lazy opens a file when it is first read.
type lazy struct {
	open func() (*os.File, error)
	f    *os.File
}

func (l *lazy) Read(p []byte) (n int, err error) {
	if l.f == nil {
		if l.f, err = l.open(); err != nil {
			return 0, err
		}
	}
	return l.f.Read(p)
}

// file passes a regular file, and refuses one that changes while it is read.
func (w *dirWalk) file(name string, h *header, st *unix.Stat_t) error {
	l := &lazy{open: func() (*os.File, error) { return w.openat(name, unix.O_RDONLY|unix.O_NONBLOCK) }}
	err := w.fn(0, h, io.LimitReader(l, h.size))
	if l.f == nil {
		return err
	}
	defer l.f.Close()
	var now unix.Stat_t
	if e := unix.Fstat(int(l.f.Fd()), &now); e != nil {
		return errors.Join(err, e)
	}
	if now.Ino != st.Ino || now.Size != st.Size || now.Mtim != st.Mtim || now.Ctim != st.Ctim {
		return errChanged(name)
	}
	return err
}
