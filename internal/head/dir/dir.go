// Package dir keeps heads and version records as small files:
//
//	heads/<course>                       the head
//	versions/<course>/<version>          a version record
//	kept/<course>/<version>              an empty mark
//	removed/<course>/<version>           a hidden record; its mtime is when it was hidden
//	profiles/<course>/<node>             what a node saw questions read
//
// Heads change under a lock file, by a durable rename; records appear by
// link(2), so that one creator wins. A reader needs no lock and sees the old or
// the new record.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/durable"
	"github.com/prairielambda/prairielambda/internal/head"
)

var _ head.Store = (*Store)(nil)

// Store implements head.Store.
type Store struct{ root string }

// New uses the directory root, which must exist; folders appear at the first write.
func New(root string) *Store { return &Store{root} }

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.root}, elem...)...)
}

// Get implements head.Store.
func (s *Store) Get(ctx context.Context, course string) (head.Head, head.Token, error) {
	if err := head.Check(ctx, course, ""); err != nil {
		return head.Head{}, "", err
	}
	record, err := s.read(s.path("heads", course))
	if err != nil {
		return head.Head{}, "", err
	}
	h, err := head.DecodeHead(course, record)
	return h, token(record), err
}

// Swap implements head.Store.
func (s *Store) Swap(ctx context.Context, course string, old head.Token, h head.Head) error {
	if err := head.Check(ctx, course, h.Version); err != nil {
		return err
	}
	record, err := h.Encode()
	if err != nil {
		return err
	}
	return s.change(ctx, course, old, func(path string) error {
		versions := s.path("versions", course)
		if _, err := os.Stat(versions); errors.Is(err, fs.ErrNotExist) {
			return durable.WriteFile(path, record, 0o644)
		}
		return durable.WriteFileAfter(versions, path, record, 0o644)
	})
}

// Remove implements head.Store.
func (s *Store) Remove(ctx context.Context, course string, old head.Token) error {
	if err := head.Check(ctx, course, ""); err != nil {
		return err
	}
	return s.change(ctx, course, old, func(path string) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		return durable.Sync(filepath.Dir(path))
	})
}

// change runs fn on the head's path under the lock, if it still is what old saw.
func (s *Store) change(ctx context.Context, course string, old head.Token, fn func(path string) error) error {
	if err := s.mkdir("heads"); err != nil {
		return err
	}
	lock := flock.New(s.path("heads", ".lock"))
	if _, err := lock.TryLockContext(ctx, 2*time.Millisecond); err != nil {
		return fmt.Errorf("lock the heads: %w", err)
	}
	defer lock.Close()
	path := s.path("heads", course)
	record, err := s.read(path)
	now := token(record)
	if errors.Is(err, head.ErrNotFound) {
		now, err = "", nil
	}
	if err != nil {
		return err
	}
	if now != old {
		return fmt.Errorf("head of %s: %w", course, head.ErrConflict)
	}
	return fn(path)
}

// List implements head.Store.
func (s *Store) List(ctx context.Context) ([]string, error) {
	return s.names(ctx, func(n string) error { return head.CheckCourse(n) }, "heads")
}

// Courses implements head.Store.
func (s *Store) Courses(ctx context.Context) ([]string, error) {
	var all []string
	for _, kind := range []string{"heads", "versions", "removed"} {
		names, err := s.names(ctx, head.CheckCourse, kind)
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// GetVersion implements head.Store.
func (s *Store) GetVersion(ctx context.Context, course, version string) (head.Version, error) {
	if err := head.Check(ctx, course, version); err != nil {
		return head.Version{}, err
	}
	record, err := s.read(s.path("versions", course, version))
	if err != nil {
		return head.Version{}, err
	}
	return head.DecodeVersion(course, version, record)
}

// PutVersion implements head.Store.
func (s *Store) PutVersion(ctx context.Context, v head.Version, first func(context.Context) error) (head.Version, error) {
	if err := head.Check(ctx, v.Course, v.Version); err != nil {
		return head.Version{}, err
	}
	record, err := v.Encode()
	if err != nil {
		return head.Version{}, err
	}
	path := s.path("versions", v.Course, v.Version)
	for {
		err := s.within(ctx, "versions", v.Course, func() error {
			return durable.CreateAfter(func() error { return head.First(ctx, first) }, path, record, 0o444)
		})
		if err == nil {
			return head.DecodeVersion(v.Course, v.Version, record)
		}
		if !errors.Is(err, fs.ErrExist) {
			return head.Version{}, err
		}
		there, err := s.GetVersion(ctx, v.Course, v.Version)
		if !errors.Is(err, head.ErrNotFound) { // else gc hid it in between
			return there, err
		}
	}
}

// ListVersions implements head.Store.
func (s *Store) ListVersions(ctx context.Context, course string, fn func(head.Stored) error) error {
	if err := head.Check(ctx, course, ""); err != nil {
		return err
	}
	return head.EachVersion(course, func(kind string) (map[string]time.Time, error) {
		names, err := s.names(ctx, head.CheckVersion, kind, course)
		written := make(map[string]time.Time, len(names))
		for _, name := range names {
			if st, e := os.Stat(s.path(kind, course, name)); e == nil {
				written[name] = st.ModTime()
			} else if !errors.Is(e, fs.ErrNotExist) { // else removed meanwhile
				err = errors.Join(err, e)
			}
		}
		return written, err
	}, func(kind, version string) ([]byte, error) {
		return s.read(s.path(kind, course, version))
	}, fn)
}

// Keep implements head.Store.
func (s *Store) Keep(ctx context.Context, course, version string, keep bool) error {
	if err := head.Check(ctx, course, version); err != nil {
		return err
	}
	path := s.path("kept", course, version)
	if !keep {
		return ignore(os.Remove(path), fs.ErrNotExist)
	}
	return s.within(ctx, "kept", course, func() error { return durable.WriteFile(path, nil, 0o444) })
}

// RemoveVersion implements head.Store.
func (s *Store) RemoveVersion(ctx context.Context, course, version string) error {
	if err := head.Check(ctx, course, version); err != nil {
		return err
	}
	from, to := s.path("versions", course, version), s.path("removed", course, version)
	return s.within(ctx, "removed", course, func() error {
		now := time.Now()
		if err := os.Chtimes(from, now, now); err != nil {
			return ignore(err, fs.ErrNotExist)
		}
		if err := os.Rename(from, to); err != nil {
			return err
		}
		return durable.Sync(filepath.Dir(to), filepath.Dir(from))
	})
}

// PurgeVersion implements head.Store. Folders that become empty go with it.
func (s *Store) PurgeVersion(ctx context.Context, course, version string) error {
	if err := head.Check(ctx, course, version); err != nil {
		return err
	}
	if err := ignore(os.Remove(s.path("removed", course, version)), fs.ErrNotExist); err != nil {
		return err
	}
	for _, kind := range []string{"removed", "versions", "kept"} {
		os.Remove(s.path(kind, course)) // refuses, rightly, while it holds anything
	}
	return nil
}

// Sweep implements head.Store.
func (s *Store) Sweep(ctx context.Context, before time.Time, keep map[string]bool) error {
	courses, err := s.Courses(ctx)
	if err != nil {
		return err
	}
	err = durable.Sweep(s.path("heads"), before)
	for _, c := range courses {
		for _, kind := range []string{"versions", "kept"} {
			err = errors.Join(err, durable.Sweep(s.path(kind, c), before))
		}
	}
	return errors.Join(err, s.sweepProfiles(ctx, before, keep), ctx.Err())
}

func (s *Store) read(path string) ([]byte, error) {
	record, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return record, err
	}
	if _, err := os.Stat(s.root); err != nil {
		return nil, err // the store itself is gone
	}
	return nil, head.ErrNotFound
}

func (s *Store) names(ctx context.Context, check func(string) error, elem ...string) ([]string, error) {
	entries, err := os.ReadDir(s.path(elem...))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(s.root); err != nil {
			return nil, err
		}
		return nil, ctx.Err()
	}
	var names []string
	for _, e := range entries {
		if check(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, errors.Join(err, ctx.Err())
}

// mkdir makes a folder below the root and makes its name durable.
func (s *Store) mkdir(elem ...string) error {
	path := s.root
	for _, e := range elem {
		parent := path
		path = filepath.Join(path, e)
		err := os.Mkdir(path, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = durable.Sync(parent)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// within runs name, which makes a name in a course's folder, in a folder that is
// there: gc removes an empty one at any moment, and then both are made again.
func (s *Store) within(ctx context.Context, kind, course string, name func() error) (err error) {
	for range 100 {
		if err = errors.Join(ctx.Err(), s.mkdir(kind, course)); err != nil {
			return err
		}
		if err = name(); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}

// token is the record's own digest: two states with the same bytes are the same state.
func token(record []byte) head.Token { return head.Token(blob.Sum(record).String()) }
