package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/internal/manifest"
	"github.com/prairielambda/prairielambda/syncer"
)

// Unpack writes an environment's root filesystem into dir, which must not be
// there, with owners, modes, devices, links and attributes as they are. It takes
// root. dir appears at once, when every byte was verified; below a directory that
// others may enter, what is in it is theirs to run.
func Unpack(ctx context.Context, s *syncer.Syncer, name, digest, dir string) (err error) {
	m, err := Manifest(ctx, s, name, digest)
	if err != nil {
		return err
	}
	tmp, err := claim(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tmp.Close()) }()
	u := &unpacker{m: m, paths: make([]string, m.Len())}
	u.paths[0] = tmp.Path
	if err := u.names(); err != nil {
		return fmt.Errorf("unpack environment %s: %w", name, err)
	}
	if err := s.ReadFiles(ctx, m, u.content); err != nil {
		return fmt.Errorf("unpack environment %s: %w", name, err)
	}
	if err := u.rest(); err != nil {
		return fmt.Errorf("unpack environment %s: %w", name, err)
	}
	return os.Rename(filepath.Join(tmp.Path, RootDir), dir)
}

// unpacker makes directories and files first, then links and devices, so that
// nothing is ever written through a link.
type unpacker struct {
	m     *manifest.Manifest
	paths []string
}

func (u *unpacker) names() error {
	for i := range u.m.Len() { // parents come before their children
		if u.m.Type(i) != manifest.Dir {
			continue
		}
		first, n := u.m.Children(i)
		for c := first; c < first+n; c++ {
			e := u.m.Entry(c)
			u.paths[c] = filepath.Join(u.paths[i], e.Name)
			var err error
			switch {
			case e.Type == manifest.Dir:
				err = os.Mkdir(u.paths[c], 0o700)
			case e.Type == manifest.File && e.Size == 0 && u.m.Link(c) == c:
				err = u.content(c, eofReader{})
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }

func (u *unpacker) content(i int, r io.Reader) error {
	if u.m.Link(i) != i {
		return nil
	}
	f, err := os.OpenFile(u.paths[i], os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

func (u *unpacker) rest() error {
	for i := 1; i < u.m.Len(); i++ {
		if err := u.finish(i); err != nil {
			return &fs.PathError{Op: "unpack", Path: u.m.Path(i), Err: err}
		}
	}
	return nil
}

func (u *unpacker) finish(i int) error {
	p, e, a := u.paths[i], u.m.Entry(i), u.m.Attr(i)
	if l := u.m.Link(i); l != i {
		return os.Link(u.paths[l], p)
	}
	kinds := map[manifest.Type]uint32{
		manifest.CharDevice: unix.S_IFCHR, manifest.BlockDevice: unix.S_IFBLK, manifest.Fifo: unix.S_IFIFO, manifest.Socket: unix.S_IFSOCK,
	}
	if e.Type == manifest.Symlink {
		if err := os.Symlink(e.Target, p); err != nil {
			return err
		}
	} else if kind, special := kinds[e.Type]; special {
		if err := unix.Mknod(p, kind|0o600, int(unix.Mkdev(a.Major, a.Minor))); err != nil {
			return err
		}
	}
	if err := os.Lchown(p, int(a.UID), int(a.GID)); err != nil {
		return err
	}
	if e.Type == manifest.Symlink {
		return nil
	}
	for _, x := range a.Xattrs {
		if err := unix.Lsetxattr(p, x.Name, []byte(x.Value), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("attribute %s: %w", x.Name, err)
		}
	}
	return unix.Chmod(p, uint32(a.Mode))
}
