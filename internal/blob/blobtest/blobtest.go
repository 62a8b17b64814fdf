// Package blobtest is the conformance suite that every blob store and every
// decorator of one runs.
package blobtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// Test runs the suite; open makes an empty store for each part of it.
func Test(t *testing.T, open func(t *testing.T) blob.Store) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, blob.Store)
	}{
		{"what is put is fetched", putFetch},
		{"not found is its own error", notFound},
		{"too large is refused", tooLarge},
		{"many writers of one blob", manyWriters},
		{"a list has every blob once", listAll},
		{"a list ends at the first error", listEnds},
		{"delete spares the young", deleteSpares},
		{"probe renews the age", probeRenews},
		{"probe and delete exclude each other", probeDelete},
		{"the caller owns what it gets and gives", ownership},
		{"a cancelled call does nothing", cancelled},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, open(t)) })
	}
}

func random(t testing.TB, n int) []byte {
	b := make([]byte, n)
	_, err := rand.Read(b)
	require.NoError(t, err)
	return b
}

func put(t testing.TB, s blob.Store, b []byte) blob.Digest {
	d := blob.Sum(b)
	require.NoError(t, s.Put(t.Context(), d, b))
	return d
}

func putFetch(t *testing.T, s blob.Store) {
	for _, b := range [][]byte{
		{},
		{0},
		[]byte("text"), bytes.Repeat([]byte("a line that shrinks\n"), 50_000), random(t, 1<<20), random(t, 200_000),
		random(t, 1<<20+1), random(t, 3<<20), append(random(t, 5<<19), bytes.Repeat([]byte("and one more\n"), 300_000)...), // of several parts
		{0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0}, // what a zstd frame begins with
	} {
		d := put(t, s, b)
		put(t, s, b) // again is no error
		got, err := s.Fetch(t.Context(), d)
		require.NoError(t, err)
		require.True(t, bytes.Equal(b, got), "%d bytes", len(b))
	}
	require.NoError(t, s.Sync(t.Context()))
	require.NoError(t, s.Sync(t.Context()))
	for range 40 { // more than are synced one by one
		put(t, s, random(t, 100))
	}
	require.NoError(t, s.Sync(t.Context()))
	require.NoError(t, s.Sweep(t.Context(), time.Now().Add(-time.Hour)))
}

func notFound(t *testing.T, s blob.Store) {
	_, err := s.Fetch(t.Context(), blob.Sum([]byte("never put")))
	require.ErrorIs(t, err, blob.ErrNotFound)
	d := put(t, s, []byte("x"))
	there, err := s.Probe(t.Context(), []blob.Digest{blob.Sum([]byte("never put")), d, d})
	require.NoError(t, err)
	require.Equal(t, []bool{false, true, true}, there)
	there, err = s.Probe(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, there)
	ok, err := s.Delete(t.Context(), blob.Sum([]byte("never put")), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.False(t, ok)
}

func tooLarge(t *testing.T, s blob.Store) {
	b := make([]byte, blob.MaxSize+1)
	require.ErrorIs(t, s.Put(t.Context(), blob.Sum(b), b), blob.ErrTooLarge)
}

func manyWriters(t *testing.T, s blob.Store) {
	b := random(t, 300_000)
	d := blob.Sum(b)
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			err := s.Put(t.Context(), d, b)
			got, e := s.Fetch(t.Context(), d)
			if err = errors.Join(err, e); err != nil || !bytes.Equal(got, b) {
				t.Errorf("put or fetch beside other writers: %v", err)
			}
		})
	}
	wg.Wait()
}

func listAll(t *testing.T, s blob.Store) {
	want := map[blob.Digest]bool{}
	for i := range 20 {
		want[put(t, s, fmt.Appendf(nil, "blob %d", i))] = true
	}
	got := map[blob.Digest]bool{}
	require.NoError(t, s.List(t.Context(), func(i blob.Info) error {
		require.False(t, got[i.Digest], "twice")
		require.Positive(t, i.Stored)
		require.WithinDuration(t, time.Now(), i.Time, time.Minute)
		got[i.Digest] = true
		return nil
	}))
	require.Equal(t, want, got)
}

func listEnds(t *testing.T, s blob.Store) {
	for i := range 3 {
		put(t, s, []byte{byte(i)})
	}
	stop, calls := errors.New("enough"), 0
	require.ErrorIs(t, s.List(t.Context(), func(blob.Info) error { calls++; return stop }), stop)
	require.Equal(t, 1, calls)
}

func deleteSpares(t *testing.T, s blob.Store) {
	d := put(t, s, []byte("young"))
	ok, err := s.Delete(t.Context(), d, time.Now().Add(-time.Minute))
	require.NoError(t, err)
	require.False(t, ok)
	_, err = s.Fetch(t.Context(), d)
	require.NoError(t, err)
	ok, err = s.Delete(t.Context(), d, time.Now().Add(time.Minute))
	require.NoError(t, err)
	require.True(t, ok)
	_, err = s.Fetch(t.Context(), d)
	require.ErrorIs(t, err, blob.ErrNotFound)
	put(t, s, []byte("young"))
	_, err = s.Fetch(t.Context(), d)
	require.NoError(t, err, "put again after a delete")
}

func probeRenews(t *testing.T, s blob.Store) {
	probed, ignored := put(t, s, []byte("probed")), put(t, s, []byte("ignored"))
	time.Sleep(20 * time.Millisecond)
	cutoff := time.Now()
	time.Sleep(20 * time.Millisecond)
	there, err := s.Probe(t.Context(), []blob.Digest{probed})
	require.NoError(t, err)
	require.Equal(t, []bool{true}, there)
	for d, want := range map[blob.Digest]bool{probed: false, ignored: true} {
		ok, err := s.Delete(t.Context(), d, cutoff)
		require.NoError(t, err)
		require.Equal(t, want, ok)
	}
}

// probeDelete: a blob that Probe found after the cutoff is there afterwards,
// whatever a collector with that cutoff does at the same time.
func probeDelete(t *testing.T, s blob.Store) {
	for i := range 20 {
		d := put(t, s, fmt.Appendf(nil, "contested %d", i))
		time.Sleep(2 * time.Millisecond)
		cutoff := time.Now()
		time.Sleep(2 * time.Millisecond)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.Delete(t.Context(), d, cutoff); err != nil {
				t.Errorf("delete: %v", err)
			}
		})
		there, err := s.Probe(t.Context(), []blob.Digest{d})
		require.NoError(t, err)
		wg.Wait()
		_, err = s.Fetch(t.Context(), d)
		if there[0] {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, blob.ErrNotFound)
		}
	}
}

func ownership(t *testing.T, s blob.Store) {
	b := []byte("not to be changed")
	d := put(t, s, b)
	b[0] = 'X'
	got, err := s.Fetch(t.Context(), d)
	require.NoError(t, err)
	require.Equal(t, "not to be changed", string(got))
	got[0] = 'Y'
	again, err := s.Fetch(t.Context(), d)
	require.NoError(t, err)
	require.Equal(t, "not to be changed", string(again))
}

func cancelled(t *testing.T, s blob.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := blob.Sum([]byte("late"))
	require.ErrorIs(t, s.Put(ctx, d, []byte("late")), context.Canceled)
	_, err := s.Fetch(t.Context(), d)
	require.ErrorIs(t, err, blob.ErrNotFound)
	_, err = s.Fetch(ctx, d)
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Probe(ctx, []blob.Digest{d})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.Sync(ctx), context.Canceled)
}
