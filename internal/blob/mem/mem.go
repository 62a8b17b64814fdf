// Package mem keeps blobs in memory, for tests and for stores that live as long
// as a process. It holds the same compressed objects as a disk would, so that
// what it refuses is what they refuse.
package mem

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
)

var _ blob.Store = (*Store)(nil)

// Store implements blob.Store. Its zero value is not usable; see New.
type Store struct {
	mu      sync.Mutex // guards objects
	objects map[blob.Digest]object
}

type object struct {
	stored []byte
	at     time.Time
}

// New returns an empty store.
func New() *Store { return &Store{objects: map[blob.Digest]object{}} }

// Fetch implements blob.Fetcher.
func (s *Store) Fetch(ctx context.Context, d blob.Digest) ([]byte, error) {
	s.mu.Lock()
	o, ok := s.objects[d]
	s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !ok {
		return nil, blob.ErrNotFound
	}
	return blob.Decompress(d, o.stored)
}

// Put implements blob.Putter.
func (s *Store) Put(ctx context.Context, d blob.Digest, b []byte) error {
	stored, err := blob.Compress(b)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[d] = object{stored, time.Now()}
	return nil
}

// Probe implements blob.Prober.
func (s *Store) Probe(ctx context.Context, ds []blob.Digest) ([]bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	there := make([]bool, len(ds))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, d := range ds {
		if o, ok := s.objects[d]; ok {
			o.at, there[i] = time.Now(), true
			s.objects[d] = o
		}
	}
	return there, nil
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, fn func(blob.Info) error) error {
	s.mu.Lock()
	snapshot := maps.Clone(s.objects)
	s.mu.Unlock()
	for d, o := range snapshot {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(blob.Info{Digest: d, Stored: int64(len(o.stored)), Time: o.at}); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, d blob.Digest, before time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[d]
	if !ok || !o.at.Before(before) {
		return false, nil
	}
	delete(s.objects, d)
	return true, nil
}

// Sync implements blob.Store: memory has nothing to wait for.
func (s *Store) Sync(ctx context.Context) error { return ctx.Err() }

// Sweep implements blob.Store: nothing is ever half done here.
func (s *Store) Sweep(ctx context.Context, _ time.Time) error { return ctx.Err() }
