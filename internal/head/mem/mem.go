// Package mem keeps heads and version records in memory, as encoded records, so
// that what it refuses is what a disk would refuse.
package mem

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/internal/head"
)

var _ head.Store = (*Store)(nil)

// Store implements head.Store. See New.
type Store struct {
	mu    sync.Mutex // guards what follows
	heads map[string]cell
	moves int
	recs  map[[2]string]record  // {course, version}
	seen  map[[2]string]profile // {course, node}
}

type cell struct {
	data  []byte
	token head.Token
}

type record struct {
	data    []byte // nil when only the mark is there
	kept    bool
	removed time.Time
}

// New returns an empty store.
func New() *Store {
	return &Store{heads: map[string]cell{}, recs: map[[2]string]record{}, seen: map[[2]string]profile{}}
}

// Get implements head.Store.
func (s *Store) Get(ctx context.Context, course string) (head.Head, head.Token, error) {
	if err := head.Check(ctx, course, ""); err != nil {
		return head.Head{}, "", err
	}
	s.mu.Lock()
	c, ok := s.heads[course]
	s.mu.Unlock()
	if !ok {
		return head.Head{}, "", head.ErrNotFound
	}
	h, err := head.DecodeHead(course, c.data)
	return h, c.token, err
}

// Swap implements head.Store.
func (s *Store) Swap(ctx context.Context, course string, old head.Token, h head.Head) error {
	if err := head.Check(ctx, course, h.Version); err != nil {
		return err
	}
	data, err := h.Encode()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heads[course].token != old {
		return fmt.Errorf("head of %s: %w", course, head.ErrConflict)
	}
	s.moves++
	s.heads[course] = cell{data, head.Token(fmt.Sprint(s.moves))}
	return nil
}

// Remove implements head.Store.
func (s *Store) Remove(ctx context.Context, course string, old head.Token) error {
	if err := head.Check(ctx, course, ""); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heads[course].token != old {
		return fmt.Errorf("head of %s: %w", course, head.ErrConflict)
	}
	delete(s.heads, course)
	return nil
}

// List implements head.Store.
func (s *Store) List(ctx context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.heads)), ctx.Err()
}

// Courses implements head.Store.
func (s *Store) Courses(ctx context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Collect(maps.Keys(s.heads))
	for k, r := range s.recs {
		if r.data != nil {
			all = append(all, k[0])
		}
	}
	slices.Sort(all)
	return slices.Compact(all), ctx.Err()
}

// GetVersion implements head.Store.
func (s *Store) GetVersion(ctx context.Context, course, version string) (head.Version, error) {
	if err := head.Check(ctx, course, version); err != nil {
		return head.Version{}, err
	}
	s.mu.Lock()
	r := s.recs[[2]string{course, version}]
	s.mu.Unlock()
	if r.data == nil || !r.removed.IsZero() {
		return head.Version{}, head.ErrNotFound
	}
	return head.DecodeVersion(course, version, r.data)
}

// PutVersion implements head.Store.
func (s *Store) PutVersion(ctx context.Context, v head.Version, first func(context.Context) error) (head.Version, error) {
	if err := head.Check(ctx, v.Course, v.Version); err != nil {
		return head.Version{}, err
	}
	data, err := v.Encode()
	if err != nil {
		return head.Version{}, err
	}
	if err := head.First(ctx, first); err != nil {
		return head.Version{}, err
	}
	s.mu.Lock()
	k := [2]string{v.Course, v.Version}
	if r := s.recs[k]; r.data == nil || !r.removed.IsZero() {
		s.recs[k] = record{data: data, kept: r.kept}
	}
	data = s.recs[k].data
	s.mu.Unlock()
	return head.DecodeVersion(v.Course, v.Version, data)
}

// ListVersions implements head.Store.
func (s *Store) ListVersions(ctx context.Context, course string, fn func(head.Stored) error) error {
	if err := head.Check(ctx, course, ""); err != nil {
		return err
	}
	s.mu.Lock()
	snapshot := maps.Clone(s.recs)
	s.mu.Unlock()
	for k, r := range snapshot {
		if k[0] != course || r.data == nil {
			continue
		}
		v, err := head.DecodeVersion(k[0], k[1], r.data)
		if err != nil {
			return err
		}
		if err := fn(head.Stored{Version: v, Kept: r.kept, Removed: r.removed}); err != nil {
			return err
		}
	}
	return nil
}

// Keep implements head.Store.
func (s *Store) Keep(ctx context.Context, course, version string, keep bool) error {
	return s.edit(ctx, course, version, func(r *record) { r.kept = keep })
}

// RemoveVersion implements head.Store.
func (s *Store) RemoveVersion(ctx context.Context, course, version string) error {
	return s.edit(ctx, course, version, func(r *record) {
		if r.removed.IsZero() {
			r.removed = time.Now()
		}
	})
}

// PurgeVersion implements head.Store.
func (s *Store) PurgeVersion(ctx context.Context, course, version string) error {
	return s.edit(ctx, course, version, func(r *record) {
		if !r.removed.IsZero() {
			*r = record{kept: r.kept}
		}
	})
}

func (s *Store) edit(ctx context.Context, course, version string, fn func(*record)) error {
	if err := head.Check(ctx, course, version); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := [2]string{course, version}
	r := s.recs[k]
	fn(&r)
	if r.data == nil {
		r.removed = time.Time{}
	}
	s.recs[k] = r
	return nil
}
