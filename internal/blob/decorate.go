package blob

import (
	"context"
	"fmt"
	"time"
)

// Verified checks bytes against their digest in both directions: a Fetch never
// returns other bytes than those of d, and a Put of bytes that are not d's fails
// before anything is stored.
func Verified(s Store) Store { return verified{s} }

type verified struct{ Store }

func (v verified) Fetch(ctx context.Context, d Digest) ([]byte, error) {
	b, err := v.Store.Fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	if got := Sum(b); got != d {
		return nil, &CorruptError{d, fmt.Sprintf("its %d bytes have digest %s", len(b), got)}
	}
	return b, nil
}

func (v verified) Put(ctx context.Context, d Digest, b []byte) error {
	if got := Sum(b); got != d {
		return &CorruptError{d, fmt.Sprintf("refusing to store %d bytes with digest %s", len(b), got)}
	}
	return v.Store.Put(ctx, d, b)
}

// Op is one call on a store, as an Observer sees it.
type Op struct {
	Name  string // fetch, put, probe, list, delete, sync, sweep
	Count int    // blobs asked for
	Bytes int64  // uncompressed bytes moved
	Took  time.Duration
	Err   error
}

// Observer is told about each call after it ended. It must be quick and safe
// for concurrent use.
type Observer func(Op)

// Metered reports every call to see and changes nothing.
func Metered(s Store, see Observer) Store { return metered{s, see} }

type metered struct {
	s   Store
	see Observer
}

func (m metered) done(name string, start time.Time, count int, bytes int, err error) {
	m.see(Op{name, count, int64(bytes), time.Since(start), err})
}

func (m metered) Fetch(ctx context.Context, d Digest) ([]byte, error) {
	start := time.Now()
	b, err := m.s.Fetch(ctx, d)
	m.done("fetch", start, 1, len(b), err)
	return b, err
}

func (m metered) Put(ctx context.Context, d Digest, b []byte) error {
	start := time.Now()
	err := m.s.Put(ctx, d, b)
	m.done("put", start, 1, len(b), err)
	return err
}

func (m metered) Probe(ctx context.Context, ds []Digest) ([]bool, error) {
	start := time.Now()
	ok, err := m.s.Probe(ctx, ds)
	m.done("probe", start, len(ds), 0, err)
	return ok, err
}

func (m metered) List(ctx context.Context, fn func(Info) error) error {
	start, n := time.Now(), 0
	err := m.s.List(ctx, func(i Info) error { n++; return fn(i) })
	m.done("list", start, n, 0, err)
	return err
}

func (m metered) Delete(ctx context.Context, d Digest, before time.Time) (bool, error) {
	start := time.Now()
	ok, err := m.s.Delete(ctx, d, before)
	m.done("delete", start, 1, 0, err)
	return ok, err
}

func (m metered) Sync(ctx context.Context) error {
	start := time.Now()
	err := m.s.Sync(ctx)
	m.done("sync", start, 0, 0, err)
	return err
}

func (m metered) Sweep(ctx context.Context, before time.Time) error {
	start := time.Now()
	err := m.s.Sweep(ctx, before)
	m.done("sweep", start, 0, 0, err)
	return err
}
