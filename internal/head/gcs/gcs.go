// Package gcs keeps heads and version records as objects of a bucket, under the
// names that package head/dir gives to files. A head moves with a generation
// precondition; a record is created with a does-not-exist one.
package gcs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob/gcs"
	"github.com/prairielambda/prairielambda/internal/head"
)

var _ head.Store = (*Store)(nil)

// Store implements head.Store.
type Store struct{ b *gcs.Bucket }

// New keeps heads in b.
func New(b *gcs.Bucket) *Store { return &Store{b} }

// Get implements head.Store.
func (s *Store) Get(ctx context.Context, course string) (head.Head, head.Token, error) {
	if err := head.Check(ctx, course, ""); err != nil {
		return head.Head{}, "", err
	}
	record, gen, err := s.read(ctx, "heads/"+course)
	if err != nil {
		return head.Head{}, "", err
	}
	h, err := head.DecodeHead(course, record)
	return h, head.Token(strconv.FormatInt(gen, 10)), err
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
	name := "heads/" + course
	if old == "" {
		err = s.b.Create(ctx, name, record)
	} else {
		var gen int64
		if gen, err = parse(old); err == nil {
			err = s.b.Replace(ctx, name, record, gen)
		}
	}
	if errors.Is(err, gcs.ErrExists) || errors.Is(err, gcs.ErrChanged) || errors.Is(err, gcs.ErrNoObject) {
		return fmt.Errorf("head of %s: %w", course, head.ErrConflict)
	}
	return err
}

// Remove implements head.Store.
func (s *Store) Remove(ctx context.Context, course string, old head.Token) error {
	if err := head.Check(ctx, course, ""); err != nil {
		return err
	}
	gen, err := parse(old)
	if err == nil {
		err = s.b.Delete(ctx, "heads/"+course, gen)
	}
	if errors.Is(err, gcs.ErrChanged) || errors.Is(err, gcs.ErrNoObject) {
		return fmt.Errorf("head of %s: %w", course, head.ErrConflict)
	}
	return err
}

// parse reads a generation; what is none belongs to no state of any head.
func parse(t head.Token) (int64, error) {
	gen, err := strconv.ParseInt(string(t), 10, 64)
	if err != nil || gen <= 0 {
		return 0, gcs.ErrChanged
	}
	return gen, nil
}

// List implements head.Store.
func (s *Store) List(ctx context.Context) ([]string, error) { return s.courses(ctx, "heads/") }

// Courses implements head.Store.
func (s *Store) Courses(ctx context.Context) ([]string, error) {
	return s.courses(ctx, "heads/", "versions/", "removed/")
}

func (s *Store) courses(ctx context.Context, prefixes ...string) ([]string, error) {
	var names []string
	for _, p := range prefixes {
		if err := s.b.List(ctx, p, "/", func(a gcs.Attrs) error {
			if n := strings.TrimSuffix(strings.TrimPrefix(a.Name, p), "/"); head.CheckCourse(n) == nil {
				names = append(names, n)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// GetVersion implements head.Store.
func (s *Store) GetVersion(ctx context.Context, course, version string) (head.Version, error) {
	if err := head.Check(ctx, course, version); err != nil {
		return head.Version{}, err
	}
	record, _, err := s.read(ctx, "versions/"+course+"/"+version)
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
	if err := head.First(ctx, first); err != nil {
		return head.Version{}, err
	}
	for {
		err = s.b.Create(ctx, "versions/"+v.Course+"/"+v.Version, record)
		if err == nil {
			return head.DecodeVersion(v.Course, v.Version, record)
		}
		if !errors.Is(err, gcs.ErrExists) {
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
		written := map[string]time.Time{}
		prefix := kind + "/" + course + "/"
		err := s.b.List(ctx, prefix, "", func(a gcs.Attrs) error {
			if v := strings.TrimPrefix(a.Name, prefix); head.CheckVersion(v) == nil {
				written[v] = a.Updated
			}
			return nil
		})
		return written, err
	}, func(kind, version string) ([]byte, error) {
		record, _, err := s.read(ctx, kind+"/"+course+"/"+version)
		return record, err
	}, fn)
}

// Keep implements head.Store.
func (s *Store) Keep(ctx context.Context, course, version string, keep bool) error {
	if err := head.Check(ctx, course, version); err != nil {
		return err
	}
	name := "kept/" + course + "/" + version
	if !keep {
		return s.remove(ctx, name)
	}
	err := s.b.Create(ctx, name, nil)
	if errors.Is(err, gcs.ErrExists) {
		return nil
	}
	return err
}

// RemoveVersion implements head.Store: the record is copied before it is deleted.
func (s *Store) RemoveVersion(ctx context.Context, course, version string) error {
	if err := head.Check(ctx, course, version); err != nil {
		return err
	}
	from, to := "versions/"+course+"/"+version, "removed/"+course+"/"+version
	record, _, err := s.read(ctx, from)
	if errors.Is(err, head.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for {
		err = s.b.Create(ctx, to, record)
		if errors.Is(err, gcs.ErrExists) {
			err = s.b.Touch(ctx, to) // hidden again: the grace period begins anew
		}
		if err == nil {
			return s.remove(ctx, from)
		}
		if !errors.Is(err, gcs.ErrNoObject) { // else another gc forgot it in between
			return err
		}
	}
}

// PurgeVersion implements head.Store.
func (s *Store) PurgeVersion(ctx context.Context, course, version string) error {
	if err := head.Check(ctx, course, version); err != nil {
		return err
	}
	return s.remove(ctx, "removed/"+course+"/"+version)
}

func (s *Store) read(ctx context.Context, name string) ([]byte, int64, error) {
	record, gen, err := s.b.Read(ctx, name, head.MaxRecord)
	if errors.Is(err, gcs.ErrNoObject) {
		return nil, 0, head.ErrNotFound
	}
	return record, gen, err
}

// remove leaves alone what somebody wrote anew meanwhile: that came after it.
func (s *Store) remove(ctx context.Context, name string) error {
	a, err := s.b.Stat(ctx, name)
	if err == nil {
		err = s.b.Delete(ctx, name, a.Generation)
	}
	if errors.Is(err, gcs.ErrNoObject) || errors.Is(err, gcs.ErrChanged) {
		return nil
	}
	return err
}
