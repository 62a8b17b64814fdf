package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// Resolve finds a version's record; an empty version, or "current", is the
// head's. A course or version that is not there is head.ErrNotFound.
func (s *Syncer) Resolve(ctx context.Context, course, version string) (head.Version, error) {
	if version == "" || version == "current" {
		h, _, err := s.cfg.Heads.Get(ctx, course)
		if err != nil {
			return head.Version{}, fmt.Errorf("head of %s: %w", course, err)
		}
		version = h.Version
	}
	v, err := s.cfg.Heads.GetVersion(ctx, course, version)
	if err != nil {
		return v, fmt.Errorf("version %s of %s: %w", version, course, err)
	}
	return v, nil
}

// Pull writes a version into dir, which must be missing or empty. dir appears
// at once, when every byte was verified; after an error it is what it was.
func (s *Syncer) Pull(ctx context.Context, course, version, dir string) (head.Version, error) {
	v, err := s.Resolve(ctx, course, version)
	if err != nil {
		return v, err
	}
	if names, err := os.ReadDir(dir); err == nil && len(names) > 0 {
		return v, fmt.Errorf("%s is not empty", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return v, err
	}
	m, err := s.Manifest(ctx, v.Manifest)
	if err != nil {
		return v, err
	}
	dir = filepath.Clean(dir)
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-")
	if err != nil {
		return v, err
	}
	defer os.RemoveAll(tmp) // nothing is left of it after the rename
	if err := s.materialise(ctx, m, tmp); err != nil {
		return v, err
	}
	return v, os.Rename(tmp, dir)
}

// materialise makes directories, then files, then symlinks, so that no file is
// ever written through a symlink.
func (s *Syncer) materialise(ctx context.Context, m *manifest.Manifest, dir string) error {
	if m.Kind() != manifest.Course {
		return errors.New("this version is a whole filesystem tree; only courses can be pulled")
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	paths := make([]string, m.Len()) // of directories
	paths[0] = dir
	var links []int
	for i := range m.Len() {
		if m.Type(i) != manifest.Dir {
			continue
		}
		first, n := m.Children(i)
		for c := first; c < first+n; c++ {
			path := filepath.Join(paths[i], m.Entry(c).Name)
			switch e := m.Entry(c); {
			case e.Type == manifest.Dir:
				paths[c] = path
				if err := os.Mkdir(path, 0o755); err != nil {
					return err
				}
			case e.Type == manifest.Symlink:
				links = append(links, c)
			case e.Size == 0:
				if err := writeFile(path, e, eof{}); err != nil {
					return err
				}
			}
		}
	}
	if err := s.ReadFiles(ctx, m, func(i int, r io.Reader) error {
		e := m.Entry(i)
		return writeFile(filepath.Join(paths[m.Parent(i)], e.Name), e, r)
	}); err != nil {
		return err
	}
	for _, i := range links {
		e := m.Entry(i)
		path := filepath.Join(paths[m.Parent(i)], e.Name)
		if err := os.Symlink(e.Target, path); err != nil {
			return err
		}
	}
	return nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

func writeFile(path string, e manifest.Entry, r io.Reader) error {
	mode := fs.FileMode(0o644)
	if e.Exec {
		mode = 0o755
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Chtimes(path, time.Time{}, manifest.ModTime(e.Digest))
}
