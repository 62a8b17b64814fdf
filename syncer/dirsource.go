package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"github.com/prairielambda/prairielambda/syncer/git"
)

// Dir is the directory at path as it is now: every file in it but what is
// called .git and, at the top of a repository, what git ignores. The version is
// the manifest's digest, so that equal trees are one version. stats, which may be
// nil, remembers which files need no reading, and may be told where alone to look
// (Stats.Changed); one Stats belongs to one directory.
func Dir(path string, stats *Stats) Source {
	if stats == nil {
		stats = &Stats{}
	}
	return dirSource{path, stats}
}

type dirSource struct {
	path  string
	stats *Stats
}

func (s dirSource) open(ctx context.Context) (tree, error) {
	path, err := filepath.EvalSymlinks(s.path)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, err
	}
	look := s.stats.begin(path)
	if look.asks {
		names, err := git.Ignored(ctx, path)
		if err != nil {
			return nil, err
		}
		ignored := make(map[string]bool, len(names))
		for _, name := range names {
			ignored[strings.TrimSuffix(name, "/")] = true
		}
		if !maps.Equal(ignored, look.ignored) {
			look.at = nil
		}
		look.ignored = ignored
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &dirTree{path: path, fd: fd, stats: s.stats, look: look, opened: time.Now()}, nil
}

// dirTree reads below one descriptor. Other programs may change the tree at any
// moment, so that no path is followed through a symlink or upwards.
type dirTree struct {
	path   string
	fd     int
	stats  *Stats
	look   *look
	opened time.Time
}

func (t *dirTree) version() string  { return "" }
func (t *dirTree) facts() *head.Git { return nil }
func (t *dirTree) idLen() int       { return 0 }
func (t *dirTree) close() error     { return unix.Close(t.fd) }
func (t *dirTree) root() *node      { return &node{typ: manifest.Dir, prev: -1} }

func (t *dirTree) openat(n *node, flags uint64) (*os.File, error) {
	name := n.path()
	if name == "" {
		name = "."
	}
	for {
		fd, err := unix.Openat2(t.fd, name, &unix.OpenHow{
			Flags:   flags | unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		})
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: filepath.Join(t.path, name), Err: err}
		}
		return os.NewFile(uintptr(fd), filepath.Join(t.path, name)), nil
	}
}

func (t *dirTree) list(ctx context.Context, dirs []*node, prev *manifest.Manifest) error {
	for _, d := range dirs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.listOne(d, prev); err != nil {
			return err
		}
	}
	return nil
}

func (t *dirTree) listOne(d *node, prev *manifest.Manifest) error {
	f, err := t.openat(d, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names)
	dir := d.path()
	d.kids = make([]*node, 0, len(names))
	for _, name := range names {
		if name == ".git" || t.look.ignored[strings.TrimPrefix(dir+"/"+name, "/")] {
			continue
		}
		n := &node{name: name, parent: d, prev: -1}
		if err := checkName(n); err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstatat(int(f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			if errors.Is(err, unix.ENOENT) {
				continue // removed since the listing
			}
			return &os.PathError{Op: "stat", Path: filepath.Join(f.Name(), name), Err: err}
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			n.typ = manifest.Dir
		case unix.S_IFLNK:
			n.typ = manifest.Symlink
			if n.target, err = readlinkat(int(f.Fd()), name); err != nil {
				return &os.PathError{Op: "readlink", Path: filepath.Join(f.Name(), name), Err: err}
			}
		case unix.S_IFREG:
			n.typ, n.exec, n.stat = manifest.File, st.Mode&0o100 != 0, newStat(&st)
			if digest, ok := t.stats.lookup(strings.TrimPrefix(dir+"/"+name, "/"), n.stat); ok {
				n.known, n.size, n.digest = true, st.Size, digest
			}
		default:
			return &RefusedError{fmt.Sprintf("%q is a device, a pipe or a socket", n.path())}
		}
		matchPrev(n, prev)
		d.kids = append(d.kids, n)
	}
	return nil
}

func readlinkat(dir int, name string) (string, error) {
	b := make([]byte, 4097)
	n, err := unix.Readlinkat(dir, name, b)
	if err == nil && (n == 0 || n > 4095) {
		err = unix.ENAMETOOLONG
	}
	return string(b[:max(n, 0)]), err
}

func (t *dirTree) read(ctx context.Context, files []*node, fn func(*node, int64, io.Reader) error) error {
	for _, n := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.readOne(n, fn); err != nil {
			return err
		}
	}
	return nil
}

// readOne refuses a file that is not, before and after, what list saw.
func (t *dirTree) readOne(n *node, fn func(*node, int64, io.Reader) error) error {
	f, err := t.openat(n, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	check := func() error {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return err
		}
		if *newStat(&st) != *n.stat {
			return &RefusedError{fmt.Sprintf("%q changed while it was read; push again", n.path())}
		}
		return nil
	}
	if err := check(); err != nil {
		return err
	}
	if err := fn(n, n.stat.size, io.LimitReader(f, n.stat.size)); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return errors.Join(check(), err)
		}
		return err
	}
	return check()
}

func (t *dirTree) unchanged(dir *node, _ *manifest.Manifest, was blob.Digest) bool {
	return !t.look.everywhere() && t.look.was == was && !t.look.holds(dir.path())
}

func (t *dirTree) done(root *node, as blob.Digest) { t.stats.end(root, t.opened, t.look, as) }
