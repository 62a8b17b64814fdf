package rendercache

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

func page(html string) *jobs.Result {
	return &jobs.Result{Calls: []jobs.CallResult{{Outcome: jobs.OK, HTML: &html}}}
}

func fill(html string) func(context.Context) (*jobs.Result, error) {
	return func(context.Context) (*jobs.Result, error) { return page(html), nil }
}

func open(t testing.TB, cfg Config) *Cache {
	t.Helper()
	c, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func look(t testing.TB, c *Cache, k Key, html string) (string, string) {
	t.Helper()
	res, how, err := c.Do(context.Background(), k, fill(html))
	require.NoError(t, err)
	return *res.Calls[0].HTML, how
}

func TestOnlyGoodSilentResultsAreKept(t *testing.T) {
	html := "x"
	for name, tc := range map[string]struct {
		res  *jobs.Result
		err  error
		runs int
	}{
		"ok":       {page("x"), nil, 1},
		"printed":  {&jobs.Result{Calls: []jobs.CallResult{{Outcome: jobs.OK, HTML: &html, Output: "hi"}}}, nil, 2},
		"opt out":  {&jobs.Result{Calls: []jobs.CallResult{{Outcome: jobs.OK, HTML: &html, NoStore: true}}}, nil, 2},
		"raised":   {&jobs.Result{Calls: []jobs.CallResult{{Outcome: jobs.QuestionError}}}, nil, 2},
		"timeout":  {&jobs.Result{Calls: []jobs.CallResult{{Outcome: jobs.Timeout}}}, nil, 2},
		"missing":  {&jobs.Result{Calls: []jobs.CallResult{{Outcome: jobs.Missing}}}, nil, 2},
		"our own":  {nil, errors.New("worker died"), 2},
		"no calls": {&jobs.Result{}, nil, 2},
	} {
		c := open(t, Config{Dir: t.TempDir()})
		runs := 0
		for range 2 {
			res, _, err := c.Do(context.Background(), Key{1}, func(context.Context) (*jobs.Result, error) { runs++; return tc.res, tc.err })
			require.Equal(t, tc.err, err)
			if tc.res != nil {
				require.Equal(t, tc.res.Calls, res.Calls)
			}
		}
		require.Equal(t, tc.runs, runs, name)
	}
}

func TestTenThousandEqualCallsRunOnce(t *testing.T) {
	c := open(t, Config{})
	var runs atomic.Int64
	gate := make(chan struct{})
	var wg sync.WaitGroup
	for range 10_000 {
		wg.Go(func() {
			res, _, err := c.Do(context.Background(), Key{1}, func(context.Context) (*jobs.Result, error) {
				runs.Add(1)
				<-gate
				return page("x"), nil
			})
			if err != nil || *res.Calls[0].HTML != "x" {
				panic("wrong result")
			}
		})
	}
	close(gate)
	wg.Wait()
	require.EqualValues(t, 1, runs.Load())
}

func TestACallerThatLeavesDoesNotTakeTheOthersWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, Config{})
		var cancelled atomic.Bool
		slow := func(ctx context.Context) (*jobs.Result, error) {
			select {
			case <-time.After(time.Second):
				return page("x"), nil
			case <-ctx.Done():
				cancelled.Store(true)
				return nil, ctx.Err()
			}
		}
		first, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _, _, err := c.Do(first, Key{1}, slow); require.ErrorIs(t, err, context.Canceled) })
		synctest.Wait()
		wg.Go(func() {
			res, how, err := c.Do(t.Context(), Key{1}, slow)
			require.NoError(t, err)
			require.Equal(t, "shared", how)
			require.Equal(t, "x", *res.Calls[0].HTML)
		})
		synctest.Wait()
		leave()
		wg.Wait()
		require.False(t, cancelled.Load())

		alone, leave := context.WithCancel(t.Context())
		wg.Go(func() { c.Do(alone, Key{2}, slow) })
		synctest.Wait()
		leave()
		wg.Wait()
		synctest.Wait()
		require.True(t, cancelled.Load(), "with the last caller the work ends")
	})
}

func TestBudgetAndAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, Config{Bytes: 10 << 10, TTL: time.Minute})
		body := strings.Repeat("x", 1000)
		for i := range 100 {
			look(t, c, Key{byte(i)}, body)
			require.LessOrEqual(t, c.bytes, int64(10<<10))
		}
		_, how := look(t, c, Key{99}, body)
		require.Equal(t, "hit", how)
		_, how = look(t, c, Key{0}, body)
		require.Equal(t, "miss", how)
		time.Sleep(2 * time.Minute)
		_, how = look(t, c, Key{99}, body)
		require.Equal(t, "miss", how)
		look(t, c, Key{200}, strings.Repeat("y", 9<<10))
		_, how = look(t, c, Key{99}, body)
		require.Equal(t, "hit", how, "one giant page does not empty the cache")
	})
}

func TestPurgeForgetsAlsoWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, Config{Dir: t.TempDir()})
		look(t, c, Key{1}, "old")
		var wg sync.WaitGroup
		wg.Go(func() {
			res, _, err := c.Do(t.Context(), Key{2}, func(context.Context) (*jobs.Result, error) {
				time.Sleep(time.Second)
				return page("old"), nil
			})
			require.NoError(t, err)
			require.Equal(t, "old", *res.Calls[0].HTML)
		})
		synctest.Wait()
		require.NoError(t, c.Purge())
		wg.Wait()
		for i := range 2 {
			got, how := look(t, c, Key{byte(i + 1)}, "new")
			require.Equal(t, []string{"new", "miss"}, []string{got, how})
		}
		require.NotZero(t, c.bytes)
	})
}
