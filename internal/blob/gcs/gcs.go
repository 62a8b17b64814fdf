package gcs

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prairielambda/prairielambda/internal/blob"
)

var _ blob.Store = (*Store)(nil)

// Store implements blob.Store.
type Store struct{ b *Bucket }

// Blobs keeps blobs in b.
func Blobs(b *Bucket) *Store { return &Store{b} }

// maxObject bounds what is read for a blob: what does not shrink grows by a little.
const maxObject = blob.MaxSize + blob.MaxSize>>10 + 1024

// parallel requests of one Probe.
const parallel = 32

func name(d blob.Digest) string {
	s := d.String()
	return "blobs/" + s[:2] + "/" + s
}

// Fetch implements blob.Fetcher.
func (s *Store) Fetch(ctx context.Context, d blob.Digest) ([]byte, error) {
	object, _, err := s.b.Read(ctx, name(d), maxObject)
	if errors.Is(err, ErrNoObject) {
		return nil, blob.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return blob.Decompress(d, object)
}

// Put implements blob.Putter. An object that is there already is touched, so
// that it is as young as one that was just written.
func (s *Store) Put(ctx context.Context, d blob.Digest, b []byte) error {
	object, err := blob.Compress(b)
	if err != nil {
		return err
	}
	for {
		err := s.b.Create(ctx, name(d), object)
		if !errors.Is(err, ErrExists) {
			return err
		}
		// gc may take it between the two; then it is created after all.
		if err := s.b.Touch(ctx, name(d)); !errors.Is(err, ErrNoObject) {
			return err
		}
	}
}

// Probe implements blob.Prober. Google vouches for the bytes of an object.
func (s *Store) Probe(ctx context.Context, ds []blob.Digest) ([]bool, error) {
	there := make([]bool, len(ds))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, d := range ds {
		g.Go(func() error {
			err := s.b.Touch(ctx, name(d))
			there[i] = err == nil
			if errors.Is(err, ErrNoObject) {
				return nil
			}
			return err
		})
	}
	return there, g.Wait()
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, fn func(blob.Info) error) error {
	return s.b.List(ctx, "blobs/", "", func(a Attrs) error {
		d, err := blob.ParseDigest(a.Name[max(0, len(a.Name)-64):])
		if err != nil || name(d) != a.Name {
			return nil
		}
		return fn(blob.Info{Digest: d, Stored: a.Size, Time: a.Updated})
	})
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, d blob.Digest, before time.Time) (bool, error) {
	a, err := s.b.Stat(ctx, name(d))
	if err == nil && a.Updated.Before(before) {
		err = s.b.Delete(ctx, name(d), a.Generation)
		if err == nil {
			return true, nil
		}
	}
	if errors.Is(err, ErrNoObject) || errors.Is(err, ErrChanged) {
		return false, nil
	}
	return false, err
}

// Sync implements blob.Store: a finished upload is durable.
func (s *Store) Sync(ctx context.Context) error { return ctx.Err() }

// Sweep implements blob.Store: an unfinished upload never becomes an object, and
// Google forgets it after a week.
func (s *Store) Sweep(ctx context.Context, _ time.Time) error { return ctx.Err() }
