package cache

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

type fetchFunc func(ctx context.Context, n int64) ([]byte, error)

// scripted answers its n-th call by a function.
type scripted struct {
	calls atomic.Int64
	do    fetchFunc
}

func (s *scripted) Fetch(ctx context.Context, _ blob.Digest) ([]byte, error) {
	return s.do(ctx, s.calls.Add(1))
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestASlowGetIsAskedTwiceAndTheFirstAnswerCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{do: func(ctx context.Context, n int64) ([]byte, error) {
			if n == 11 { // the one that lingers
				return nil, wait(ctx, time.Minute)
			}
			return []byte("x"), wait(ctx, 30*time.Millisecond)
		}}
		g := NewGuard(s, GuardConfig{Log: zerolog.Nop()})
		for range 10 {
			_, err := g.Fetch(t.Context(), blob.Digest{})
			require.NoError(t, err)
		}
		require.EqualValues(t, 10, s.calls.Load(), "usual GETs are not doubled")
		start := time.Now()
		b, err := g.Fetch(t.Context(), blob.Digest{})
		require.NoError(t, err)
		require.Equal(t, "x", string(b))
		require.Less(t, time.Since(start), 200*time.Millisecond)
		require.EqualValues(t, 12, s.calls.Load())
		require.EqualValues(t, 1, g.Stats().Hedges)
	})
}

func TestHedgingHasABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		s := &scripted{do: func(ctx context.Context, _ int64) ([]byte, error) {
			if slow.Load() {
				return []byte("x"), wait(ctx, 2*time.Second)
			}
			return []byte("x"), wait(ctx, time.Millisecond)
		}}
		g := NewGuard(s, GuardConfig{Log: zerolog.Nop()})
		for range 20 {
			_, _ = g.Fetch(t.Context(), blob.Digest{})
		}
		slow.Store(true)
		before := s.calls.Load()
		for range 100 {
			_, _ = g.Fetch(t.Context(), blob.Digest{})
		}
		require.LessOrEqual(t, s.calls.Load()-before, int64(100+20))
	})
}

func TestBreaker(t *testing.T) {
	for name, fail := range map[string]func(context.Context) error{
		"refusing": func(context.Context) error { return errors.New("connection refused") },
		"hanging":  func(ctx context.Context) error { return wait(ctx, time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var down atomic.Bool
				s := &scripted{do: func(ctx context.Context, _ int64) ([]byte, error) {
					if down.Load() {
						return nil, fail(ctx)
					}
					return []byte("x"), wait(ctx, time.Millisecond)
				}}
				g := NewGuard(s, GuardConfig{Log: zerolog.Nop()})
				fetch := func() error {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					_, err := g.Fetch(ctx, blob.Digest{})
					return err
				}
				require.NoError(t, fetch())
				down.Store(true)
				for range 5 {
					require.Error(t, fetch())
				}
				require.True(t, g.Stats().Open)
				start := time.Now()
				require.ErrorIs(t, fetch(), ErrOriginDown)
				require.Less(t, time.Since(start), 100*time.Millisecond)
				down.Store(false)
				time.Sleep(20 * time.Second)
				require.NoError(t, fetch(), "recovers without help")
				require.False(t, g.Stats().Open)
			})
		})
	}
	g := NewGuard(&scripted{do: func(context.Context, int64) ([]byte, error) { return nil, blob.ErrNotFound }}, GuardConfig{Log: zerolog.Nop()})
	for range 20 {
		_, err := g.Fetch(t.Context(), blob.Digest{})
		require.ErrorIs(t, err, blob.ErrNotFound, "an answer does not open the breaker")
	}
}
