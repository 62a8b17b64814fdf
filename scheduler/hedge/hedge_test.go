package hedge

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var errSystem = errors.New("system")

// worker says how one candidate behaves.
type worker struct {
	name  string
	after time.Duration
	err   error
}

type watch struct {
	begun, cancelled atomic.Int64
}

func race(owner *sync.WaitGroup, w *watch, ws ...worker) Race[worker, string] {
	return Race[worker, string]{
		Candidates: ws,
		Owner:      owner,
		Again:      func(err error) bool { return errors.Is(err, errSystem) },
		Run: func(ctx context.Context, k worker) (string, error) {
			w.begun.Add(1)
			select {
			case <-time.After(k.after):
				return k.name, k.err
			case <-ctx.Done():
				w.cancelled.Add(1)
				return "", ctx.Err()
			}
		},
	}
}

func TestRace(t *testing.T) {
	slow, fast := worker{"slow", time.Second, nil}, worker{"fast", 10 * time.Millisecond, nil}
	broken := worker{"broken", time.Millisecond, errSystem}
	refused := worker{"refused", time.Millisecond, errors.New("refused")}
	for name, tc := range map[string]struct {
		ws    []worker
		edit  func(*Race[worker, string])
		want  string
		err   string
		tries int
		took  time.Duration
	}{
		"first is enough":           {[]worker{fast, slow}, nil, "fast", "", 1, 10 * time.Millisecond},
		"falls back in order":       {[]worker{broken, fast}, nil, "fast", "", 2, 11 * time.Millisecond},
		"all broken":                {[]worker{broken, broken}, nil, "", "system", 2, 2 * time.Millisecond},
		"a refusal is final":        {[]worker{refused, fast}, nil, "", "refused", 1, time.Millisecond},
		"hedges a slow one":         {[]worker{slow, fast}, func(r *Race[worker, string]) { r.After = 50 * time.Millisecond }, "fast", "", 2, 60 * time.Millisecond},
		"no hedge before its time":  {[]worker{fast, slow}, func(r *Race[worker, string]) { r.After = 50 * time.Millisecond }, "fast", "", 1, 10 * time.Millisecond},
		"no hedge without budget":   {[]worker{slow, fast}, func(r *Race[worker, string]) { r.After = 1; r.Allow = func() bool { return false } }, "slow", "", 1, time.Second},
		"both at once":              {[]worker{slow, fast}, func(r *Race[worker, string]) { r.Both = true }, "fast", "", 2, 10 * time.Millisecond},
		"both, one broken, a fresh": {[]worker{slow, broken, fast}, func(r *Race[worker, string]) { r.Both = true }, "fast", "", 3, 11 * time.Millisecond},
		"both broken":               {[]worker{broken, broken}, func(r *Race[worker, string]) { r.Both = true }, "", "system", 2, time.Millisecond},
		"both of one":               {[]worker{fast}, func(r *Race[worker, string]) { r.Both = true }, "fast", "", 1, 10 * time.Millisecond},
		"nobody":                    {nil, nil, "", ErrNobody.Error(), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var owner sync.WaitGroup
				var w watch
				r := race(&owner, &w, tc.ws...)
				if tc.edit != nil {
					tc.edit(&r)
				}
				begin := time.Now()
				won, err := r.Do(t.Context())
				require.Equal(t, tc.took, time.Since(begin))
				owner.Wait()
				require.Equal(t, tc.took, time.Since(begin), "losers end at once")
				if tc.err != "" {
					require.EqualError(t, err, tc.err)
				} else {
					require.NoError(t, err)
					require.Equal(t, tc.want, won.Value)
					require.Equal(t, tc.want, won.By.name)
				}
				require.Equal(t, tc.tries, won.Tries)
				require.EqualValues(t, tc.tries, w.begun.Load())
			})
		})
	}
}

func TestTheCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var owner sync.WaitGroup
		var w watch
		r := race(&owner, &w, worker{"a", time.Hour, nil}, worker{"b", time.Hour, nil})
		r.Both = true
		ctx, leave := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		time.AfterFunc(time.Second, func() { leave(gone) })
		_, err := r.Do(ctx)
		require.ErrorIs(t, err, gone)
		owner.Wait()
		require.EqualValues(t, 2, w.cancelled.Load())
	})
}

func TestBudgetNeverExceedsItsShare(t *testing.T) {
	b := NewBudget(0.05, 10)
	require.False(t, b.Spend(), "starts empty")
	spent := 0
	for n := 1; n <= 10_000; n++ {
		b.Earn()
		for b.Spend() {
			spent++
		}
		require.LessOrEqual(t, float64(spent), 0.05*float64(n)+1e-9)
	}
	require.InDelta(t, 500, spent, 1)
	for range 1000 {
		b.Earn()
	}
	for spent = 0; b.Spend(); spent++ {
	}
	require.LessOrEqual(t, spent, 10, "quiet hours do not save up for a storm")
}

func TestLatency(t *testing.T) {
	l := NewLatency()
	for i := range enough {
		_, ok := l.P95("a")
		require.False(t, ok)
		l.Record("a", time.Duration(i+1)*time.Millisecond)
	}
	p, ok := l.P95("a")
	require.True(t, ok)
	require.Equal(t, 20*time.Millisecond, p)
	for range window + 8 {
		l.Record("a", time.Second)
	}
	p, _ = l.P95("a")
	require.Equal(t, time.Second, p, "old durations are forgotten")
	for i := range 2 * maxClasses {
		l.Record(string(rune('b'))+time.Duration(i).String(), 1)
	}
	require.Len(t, l.classes, maxClasses)
	_, ok = l.P95("a")
	require.False(t, ok)
}
