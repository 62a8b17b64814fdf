// Package headtest is the conformance suite that every head store runs.
package headtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
)

// Test runs the suite; open makes an empty store for each part of it.
func Test(t *testing.T, open func(t *testing.T) head.Store) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, head.Store)
	}{
		{"an empty store has nothing", empty},
		{"a head moves by compare-and-swap", swaps},
		{"of many swaps at once one wins", race},
		{"a counter under contention loses nothing", counter},
		{"a removed head is gone", removes},
		{"a version record never changes", records},
		{"a record appears after what it reaches", ordered},
		{"hidden records are seen by gc only", hides},
		{"a record is put whatever gc does beside it", hidesBeside},
		{"marks outlive and precede nothing else", marks},
		{"each node has one profile of a course", profiles},
		{"bad names are refused", names},
		{"a cancelled call does nothing", cancelled},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, open(t)) })
	}
}

// Ver makes a version's name out of a number.
func Ver(n int) string { return fmt.Sprintf("%040x", n) }

func mk(course string, n int) head.Head {
	return head.Head{Course: course, Version: Ver(n), Manifest: blob.Sum([]byte(Ver(n))), Sequence: uint64(n), Time: time.UnixMilli(1_700_000_000_123).UTC()}
}

func rec(course string, n int) head.Version {
	return head.Version{
		Course: course, Version: Ver(n), Manifest: blob.Sum([]byte(Ver(n))), Time: time.UnixMilli(1_700_000_000_000 + int64(n)).UTC(),
		Chunks: 3, Files: 4, Bytes: 5, Git: &head.Git{Commit: Ver(n), Tree: Ver(n + 1), Title: "a <b> & \"c\" \u2028 é"},
	}
}

func empty(t *testing.T, s head.Store) {
	_, token, err := s.Get(t.Context(), "c")
	require.ErrorIs(t, err, head.ErrNotFound)
	require.Zero(t, token)
	_, err = s.GetVersion(t.Context(), "c", Ver(1))
	require.ErrorIs(t, err, head.ErrNotFound)
	for _, list := range []func(context.Context) ([]string, error){s.List, s.Courses} {
		names, err := list(t.Context())
		require.NoError(t, err)
		require.Empty(t, names)
	}
	require.NoError(t, s.ListVersions(t.Context(), "c", func(head.Stored) error { return errors.New("none expected") }))
	require.NoError(t, s.Sweep(t.Context(), time.Now(), nil))
}

func swaps(t *testing.T, s head.Store) {
	ctx := t.Context()
	require.ErrorIs(t, s.Swap(ctx, "c", "something", mk("c", 1)), head.ErrConflict)
	require.NoError(t, s.Swap(ctx, "c", "", mk("c", 1)))
	require.ErrorIs(t, s.Swap(ctx, "c", "", mk("c", 2)), head.ErrConflict)
	h, first, err := s.Get(ctx, "c")
	require.NoError(t, err)
	require.Equal(t, mk("c", 1), h)
	require.NoError(t, s.Swap(ctx, "c", first, mk("c", 2)))
	require.ErrorIs(t, s.Swap(ctx, "c", first, mk("c", 3)), head.ErrConflict)
	h, second, err := s.Get(ctx, "c")
	require.NoError(t, err)
	require.Equal(t, mk("c", 2), h)
	require.NotEqual(t, first, second)
	require.NoError(t, s.Swap(ctx, "B.course_2", "", mk("B.course_2", 1)))
	names, err := s.List(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"B.course_2", "c"}, names)
}

func race(t *testing.T, s head.Store) {
	var wins atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			err := s.Swap(t.Context(), "c", "", mk("c", i+1))
			if err == nil {
				wins.Add(1)
			} else if !errors.Is(err, head.ErrConflict) {
				t.Errorf("swap: %v", err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, wins.Load())
}

func counter(t *testing.T, s head.Store) {
	const workers, each = 4, 5
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done := 0; done < each; {
				h, token, err := s.Get(t.Context(), "c")
				if err != nil && !errors.Is(err, head.ErrNotFound) {
					t.Errorf("get: %v", err)
					return
				}
				err = s.Swap(t.Context(), "c", token, mk("c", int(h.Sequence)+1))
				if err == nil {
					done++
				} else if !errors.Is(err, head.ErrConflict) {
					t.Errorf("swap: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	h, _, err := s.Get(t.Context(), "c")
	require.NoError(t, err)
	require.EqualValues(t, workers*each, h.Sequence)
}

func removes(t *testing.T, s head.Store) {
	ctx := t.Context()
	require.NoError(t, s.Swap(ctx, "c", "", mk("c", 1)))
	require.ErrorIs(t, s.Remove(ctx, "c", "other"), head.ErrConflict)
	_, token, err := s.Get(ctx, "c")
	require.NoError(t, err)
	require.NoError(t, s.Remove(ctx, "c", token))
	_, _, err = s.Get(ctx, "c")
	require.ErrorIs(t, err, head.ErrNotFound)
	require.NoError(t, s.Swap(ctx, "c", "", mk("c", 2)))
}

func records(t *testing.T, s head.Store) {
	ctx := t.Context()
	want := rec("c", 1)
	got, err := s.PutVersion(ctx, want, nil)
	require.NoError(t, err)
	require.Equal(t, want, got)
	other := want
	other.Files = 99
	got, err = s.PutVersion(ctx, other, nil)
	require.NoError(t, err)
	require.Equal(t, want, got, "the record that was there first")
	got, err = s.GetVersion(ctx, "c", Ver(1))
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = s.GetVersion(ctx, "d", Ver(1))
	require.ErrorIs(t, err, head.ErrNotFound)
	names, err := s.Courses(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"c"}, names)
	long := rec("c", 2)
	long.Git.Title = strings.Repeat("x", head.MaxRecord)
	_, err = s.PutVersion(ctx, long, nil)
	require.Error(t, err)
}

func stored(t *testing.T, s head.Store, course string) map[string]head.Stored {
	all := map[string]head.Stored{}
	require.NoError(t, s.ListVersions(t.Context(), course, func(r head.Stored) error {
		all[r.Version.Version] = r
		return nil
	}))
	return all
}

func ordered(t *testing.T, s head.Store) {
	ctx := t.Context()
	full := errors.New("the disk is full")
	_, err := s.PutVersion(ctx, rec("c", 1), func(context.Context) error { return full })
	require.ErrorIs(t, err, full)
	called := false
	_, err = s.PutVersion(ctx, rec("c", 1), func(ctx context.Context) error {
		called = true
		_, err := s.GetVersion(ctx, "c", Ver(1))
		require.ErrorIs(t, err, head.ErrNotFound)
		return s.ListVersions(ctx, "c", func(head.Stored) error { return errors.New("none expected") })
	})
	require.NoError(t, err)
	require.True(t, called)
	_, err = s.GetVersion(ctx, "c", Ver(1))
	require.NoError(t, err)
}

func hides(t *testing.T, s head.Store) {
	ctx := t.Context()
	for n := range 3 {
		_, err := s.PutVersion(ctx, rec("c", n+1), nil)
		require.NoError(t, err)
	}
	require.NoError(t, s.PurgeVersion(ctx, "c", Ver(1)), "a visible record is not purged")
	require.Len(t, stored(t, s, "c"), 3)
	require.NoError(t, s.RemoveVersion(ctx, "c", Ver(1)))
	require.NoError(t, s.RemoveVersion(ctx, "c", Ver(1)))
	require.NoError(t, s.RemoveVersion(ctx, "c", Ver(9)), "not there")
	_, err := s.GetVersion(ctx, "c", Ver(1))
	require.ErrorIs(t, err, head.ErrNotFound)
	all := stored(t, s, "c")
	require.Len(t, all, 3)
	require.WithinDuration(t, time.Now(), all[Ver(1)].Removed, time.Minute)
	require.True(t, all[Ver(2)].Removed.IsZero())
	require.Equal(t, rec("c", 1), all[Ver(1)].Version)

	_, err = s.PutVersion(ctx, rec("c", 1), nil) // pushed again before gc forgot it
	require.NoError(t, err)
	_, err = s.GetVersion(ctx, "c", Ver(1))
	require.NoError(t, err)
	require.NoError(t, s.PurgeVersion(ctx, "c", Ver(1)))
	_, err = s.GetVersion(ctx, "c", Ver(1))
	require.NoError(t, err, "purging what was hidden spares what is visible")

	for n := range 3 {
		require.NoError(t, s.RemoveVersion(ctx, "c", Ver(n+1)))
		require.NoError(t, s.PurgeVersion(ctx, "c", Ver(n+1)))
	}
	require.Empty(t, stored(t, s, "c"))
	names, err := s.Courses(ctx)
	require.NoError(t, err)
	require.Empty(t, names)
}

func hidesBeside(t *testing.T, s head.Store) {
	put := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-put:
					return
				default:
				}
				if err := errors.Join(s.RemoveVersion(t.Context(), "c", Ver(1)), s.PurgeVersion(t.Context(), "c", Ver(1))); err != nil {
					t.Errorf("gc: %v", err)
					return
				}
			}
		})
	}
	for range 100 {
		got, err := s.PutVersion(t.Context(), rec("c", 1), nil)
		if !assert.NoError(t, err) || !assert.Equal(t, rec("c", 1), got) {
			break
		}
	}
	close(put)
	wg.Wait()
}

func marks(t *testing.T, s head.Store) {
	ctx := t.Context()
	_, err := s.PutVersion(ctx, rec("c", 1), nil)
	require.NoError(t, err)
	require.NoError(t, s.Keep(ctx, "c", Ver(1), false))
	require.NoError(t, s.Keep(ctx, "c", Ver(1), true))
	require.NoError(t, s.Keep(ctx, "c", Ver(1), true))
	require.True(t, stored(t, s, "c")[Ver(1)].Kept)
	require.NoError(t, s.Keep(ctx, "c", Ver(1), false))
	require.False(t, stored(t, s, "c")[Ver(1)].Kept)
	require.NoError(t, s.Keep(ctx, "other", Ver(1), true))
	names, err := s.Courses(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"c"}, names, "a mark alone is no course")
}

func names(t *testing.T, s head.Store) {
	ctx := t.Context()
	for _, bad := range []string{"", ".", "..", ".hidden", "a/b", "a\x00", "a b", "-x", "_x", strings.Repeat("x", 129), "é"} {
		_, _, err := s.Get(ctx, bad)
		require.Error(t, err, bad)
		require.NotErrorIs(t, err, head.ErrNotFound, bad)
		require.Error(t, s.Swap(ctx, bad, "", mk(bad, 1)), bad)
	}
	for _, bad := range []string{"..", "current", strings.Repeat("a", 39), strings.Repeat("A", 40), strings.Repeat("g", 64)} {
		_, err := s.GetVersion(ctx, "c", bad)
		require.Error(t, err, bad)
		require.NotErrorIs(t, err, head.ErrNotFound, bad)
		require.Error(t, s.RemoveVersion(ctx, "c", bad), bad)
	}
	h := mk("c", 1)
	h.Sequence = 0
	require.Error(t, s.Swap(ctx, "c", "", h))
}

func cancelled(t *testing.T, s head.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Swap(ctx, "c", "", mk("c", 1)), context.Canceled)
	_, err := s.PutVersion(ctx, rec("c", 1), nil)
	require.ErrorIs(t, err, context.Canceled)
	_, _, err = s.Get(t.Context(), "c")
	require.ErrorIs(t, err, head.ErrNotFound)
}
