package admit

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func capacity(n int) func() int { return func() int { return n } }

// call holds a place for d and returns how long it waited for it.
func call(ctx context.Context, q *Queue, course string, d time.Duration) (time.Duration, error) {
	begin := time.Now()
	leave, err := q.Enter(ctx, course)
	if err != nil {
		return 0, err
	}
	wait := time.Since(begin)
	time.Sleep(d)
	leave()
	return wait, nil
}

func TestCapacityIsNeverExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{Capacity: capacity(3)})
		var wg sync.WaitGroup
		begin := time.Now()
		for range 30 {
			wg.Go(func() {
				_, err := call(t.Context(), q, "c", 100*time.Millisecond)
				require.NoError(t, err)
			})
		}
		synctest.Wait()
		running, waiting := q.Depth()
		require.Equal(t, []int{3, 27}, []int{running, waiting})
		wg.Wait()
		require.Equal(t, time.Second, time.Since(begin), "three at a time, no place left idle")
		running, waiting = q.Depth()
		require.Zero(t, running+waiting)
	})
}

func TestAGreedyCourseIsRefusedAndTheOthersDoNotNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hold = 10 * time.Millisecond
		q := New(Config{Capacity: capacity(4), MaxWait: time.Second})
		var wg sync.WaitGroup
		var mu sync.Mutex
		var waits []time.Duration
		var refused, served int
		// Four places of 10 ms are 400 calls a second; a quarter of that is a fair
		// share of four courses. The greedy one sends 100 times its share.
		for range 10_000 {
			time.Sleep(100 * time.Microsecond)
			wg.Go(func() {
				_, err := call(t.Context(), q, "greedy", hold)
				mu.Lock()
				defer mu.Unlock()
				var full *Full
				if errors.As(err, &full) {
					require.GreaterOrEqual(t, full.RetryAfter, time.Second)
					refused++
				} else {
					require.NoError(t, err)
					served++
				}
			})
			if running, _ := q.Depth(); running > 0 && time.Now().Nanosecond()%(20*int(time.Millisecond)) == 0 {
				wg.Go(func() {
					wait, err := call(t.Context(), q, "quiet", hold)
					require.NoError(t, err)
					mu.Lock()
					waits = append(waits, wait)
					mu.Unlock()
				})
			}
		}
		wg.Wait()
		require.Greater(t, refused, 5_000)
		require.Greater(t, served, 250, "what is free is used")
		require.Greater(t, len(waits), 30)
		slices.Sort(waits)
		require.LessOrEqual(t, waits[len(waits)*95/100], hold, "p95 at most twice that of a quiet day")
	})
}

func TestPlacesGoToTheCourseWithTheFewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{Capacity: capacity(1)})
		hold, err := q.Enter(t.Context(), "x")
		require.NoError(t, err)
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		for _, c := range []string{"a", "a", "a", "b", "c"} {
			wg.Go(func() {
				leave, err := q.Enter(t.Context(), c)
				require.NoError(t, err)
				mu.Lock()
				order = append(order, c)
				mu.Unlock()
				leave()
			})
			synctest.Wait()
		}
		hold()
		wg.Wait()
		require.ElementsMatch(t, []string{"a", "b", "c"}, order[:3], "each course once before any twice")
	})
}

func TestLeavingTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{Capacity: capacity(1)})
		leave, err := q.Enter(t.Context(), "c")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = q.Enter(ctx, "c")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, waiting := q.Depth()
		require.Zero(t, waiting)
		leave()
		leave() // the second does nothing
		running, _ := q.Depth()
		require.Zero(t, running)
	})
}

func TestADeadlineThatCannotBeMetIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{Capacity: capacity(1)})
		for range 50 {
			_, err := call(t.Context(), q, "c", time.Second) // teaches the estimate
			require.NoError(t, err)
		}
		leave, err := q.Enter(t.Context(), "c")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, err = q.Enter(ctx, "c")
		var full *Full
		require.ErrorAs(t, err, &full)
		require.Equal(t, begin, time.Now())
		require.Equal(t, time.Second, full.RetryAfter)
		leave()
	})
}

func TestIdleCoursesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{})
		for i := range 100 {
			_, err := call(t.Context(), q, string(rune('a'+i)), time.Millisecond)
			require.NoError(t, err)
		}
		time.Sleep(7 * active)
		_, err := call(t.Context(), q, "last", time.Millisecond)
		require.NoError(t, err)
		require.Len(t, q.courses, 1)
	})
}

func TestACapacityThatGrewIsGivenToThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 1
		q := New(Config{Capacity: func() int { return n }})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				_, err := call(t.Context(), q, "c", time.Minute)
				require.NoError(t, err)
			})
		}
		synctest.Wait()
		n = 3
		q.Fill()
		synctest.Wait()
		running, waiting := q.Depth()
		require.Equal(t, []int{3, 1}, []int{running, waiting})
		wg.Wait()
	})
}
