package fleet_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/ticket"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

func start(t *testing.T, cfg fleet.Config) *fleet.Fleet {
	t.Helper()
	cfg.Interval, cfg.Timeout = 10*time.Millisecond, 200*time.Millisecond
	f, err := fleet.New(cfg)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { f.Run(ctx) })
	t.Cleanup(func() { stop(); wg.Wait() })
	return f
}

func soon(t *testing.T, cond func() bool, msg string) {
	t.Helper()
	require.Eventually(t, cond, 10*time.Second, 2*time.Millisecond, msg)
}

func TestOrderIsTheSameEverywhereAndMovesOnlyWhatItMust(t *testing.T) {
	urls := []string{"http://a:1", "http://b:1", "http://c:1", "http://d:1"}
	one, err := fleet.New(fleet.Config{Workers: urls})
	require.NoError(t, err)
	two, err := fleet.New(fleet.Config{Workers: []string{urls[3], urls[1], urls[0], urls[2]}})
	require.NoError(t, err)
	less, err := fleet.New(fleet.Config{Workers: urls[:3]})
	require.NoError(t, err)
	count := map[string]int{}
	for i := range 1000 {
		key := fmt.Sprintf("course\x00%d", i)
		first := one.Order(key)[0].URL
		count[first]++
		require.Equal(t, first, two.Order(key)[0].URL)
		if first != "http://d:1" {
			require.Equal(t, first, less.Order(key)[0].URL, "a key moved although its worker stayed")
		}
	}
	for _, u := range urls {
		require.InDelta(t, 250, count[u], 75, "%v", count)
	}
}

func TestProbesFollowAWorkerThroughItsLife(t *testing.T) {
	w := fleettest.New(t, nil)
	f := start(t, fleet.Config{Workers: []string{w.URL}})
	soon(t, f.Ready, "up")
	require.Equal(t, 4, f.Slots())
	require.Equal(t, "root", f.Workers()[0].Status().Tier)
	digest := f.Workers()[0].Runtimes()
	w.Set(func(s *fleettest.State) { s.Status.Draining = true })
	soon(t, func() bool { return !f.Ready() }, "draining")
	w.Set(func(s *fleettest.State) {
		s.Status = jobs.Status{Name: "n1", Tier: "root", Slots: 8, Runtimes: []jobs.Runtime{{Name: "node", Version: "20"}}}
	})
	soon(t, func() bool { return f.Ready() && f.Slots() == 8 }, "back")
	require.Equal(t, "n1", f.Workers()[0].Name())
	require.NotEqual(t, digest, f.Workers()[0].Runtimes(), "other runtimes, another digest")
	w.Set(func(s *fleettest.State) { s.Hang = true })
	soon(t, func() bool { return !f.Ready() }, "silent")
}

func TestRequestsInFlightEndWhenTheWorkerFallsSilent(t *testing.T) {
	w, other := fleettest.New(t, nil), fleettest.New(t, nil)
	f := start(t, fleet.Config{Workers: []string{w.URL, other.URL}})
	soon(t, func() bool { return f.Slots() == 8 }, "both up")
	w.Set(func(s *fleettest.State) { s.Hang = true })
	silent := f.Workers()[slices.IndexFunc(f.Workers(), func(k *fleet.Worker) bool { return k.URL == w.URL })]
	_, err := silent.Send(context.Background(), fleet.Request{Path: "/v1/invoke", Body: []byte(`{}`)})
	require.ErrorIs(t, err, fleet.ErrDown)
	var fe *fleet.Error
	require.True(t, errors.As(err, &fe) && fe.System())
}

// source tells of workers what the test says.
type source chan []string

func (s source) Watch(ctx context.Context, update func([]string)) error {
	for {
		select {
		case urls := <-s:
			update(urls)
			s <- nil // it has been heard
		case <-ctx.Done():
			return nil
		}
	}
}

// A worker that drains leaves its service first, and then ends what it runs.
func TestAWorkerThatLeavesEndsItsCallsUnlessItFallsSilent(t *testing.T) {
	for name, want := range map[string]error{"drains": nil, "dies": fleet.ErrDown} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := fleettest.New(t, nil)
			src, reg := make(source), prometheus.NewRegistry()
			f := start(t, fleet.Config{Source: src, Register: reg})
			shown := func() (is bool) {
				ms, err := reg.Gather()
				require.NoError(t, err)
				for _, m := range ms {
					is = is || m.GetName() == "prairie_gateway_worker_up"
				}
				return is
			}
			src <- []string{w.URL}
			<-src
			soon(t, func() bool { return f.Ready() && shown() }, "up")
			begun, end, probes := make(chan bool, 1), make(chan bool), make(chan bool)
			w.Set(func(s *fleettest.State) {
				s.Before = func(_ http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path == "/v1/status" {
						select {
						case probes <- true:
						default:
						}
						return false
					}
					begun <- true
					select {
					case <-end:
					case <-r.Context().Done():
					}
					return true
				}
			})
			called := make(chan error, 1)
			go func() {
				res, err := f.Workers()[0].Send(context.Background(), fleet.Request{Path: "/v1/invoke"})
				if err == nil {
					res.Body.Close()
				}
				called <- err
			}()
			<-begun
			src <- nil
			<-src
			require.Empty(t, f.Workers())
			for range 3 { // it is watched on, and no longer shown
				select {
				case <-probes:
				case <-time.After(10 * time.Second):
					t.Fatal("nobody would notice if it fell silent")
				}
			}
			require.False(t, shown())
			if want == nil {
				close(end)
			} else {
				w.Set(func(s *fleettest.State) { s.Hang = true })
			}
			require.ErrorIs(t, <-called, want)
		})
	}
}

func TestTheOnlyWorkerIsLeftItsCallsWhenItIsBusy(t *testing.T) {
	w := fleettest.New(t, map[string]fleettest.Course{"c": {Current: "v", Versions: map[string]fleettest.Version{"v": {}}}})
	f := start(t, fleet.Config{Workers: []string{w.URL}})
	soon(t, f.Ready, "up")
	var probes atomic.Int64
	enough := make(chan struct{}) // are missed: more than take another worker's calls away
	w.Set(func(s *fleettest.State) {
		s.Before = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/v1/status" {
				select {
				case <-enough:
				case <-r.Context().Done():
				}
				return false
			}
			if probes.Add(1) == 5 {
				close(enough)
			}
			<-r.Context().Done()
			return true
		}
	})
	var res jobs.Result
	require.NoError(t, f.Workers()[0].JSON(context.Background(), fleet.Request{Path: "/v1/invoke", Body: []byte(`{"course":"c","version":"v"}`)}, &res))
	require.Equal(t, "v", res.Version)
	require.False(t, f.Ready())
}

func TestOrderPutsTheSickLast(t *testing.T) {
	a, b := fleettest.New(t, nil), fleettest.New(t, nil)
	f := start(t, fleet.Config{Workers: []string{a.URL, b.URL}})
	soon(t, func() bool { return f.Slots() == 8 }, "both up")
	a.Crash()
	soon(t, func() bool { return f.Slots() == 4 }, "one left")
	for i := range 50 {
		require.Equal(t, b.URL, f.Order(fmt.Sprint(i))[0].URL)
	}
}

func TestARefusedConnectionCountsAtOnce(t *testing.T) {
	w := fleettest.New(t, nil)
	f := start(t, fleet.Config{Workers: []string{w.URL}})
	soon(t, f.Ready, "up")
	w.Crash()
	_, err := f.Workers()[0].Send(context.Background(), fleet.Request{Path: "/v1/status"})
	require.Error(t, err)
	require.False(t, f.Ready())
}

func TestOverloadSpillsOver(t *testing.T) {
	a, b := fleettest.New(t, nil), fleettest.New(t, nil)
	f := start(t, fleet.Config{Workers: []string{a.URL, b.URL}})
	soon(t, func() bool { return f.Slots() == 8 }, "both up")
	first := f.Order("k")[0]
	ctx, leave := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, w := range []*fleettest.Worker{a, b} {
		w.Set(func(s *fleettest.State) { s.Delay = time.Hour })
	}
	for range 4 {
		wg.Go(func() { first.Send(ctx, fleet.Request{Path: "/v1/invoke", Body: []byte(`{}`)}) })
	}
	soon(t, func() bool { return a.Invocations.Load()+b.Invocations.Load() == 4 }, "all slots taken")
	require.NotEqual(t, first.URL, f.Order("k")[0].URL, "a full worker spills over")
	leave()
	wg.Wait()
	require.Equal(t, first.URL, f.Order("k")[0].URL)
	soon(t, func() bool { return a.Cancelled.Load()+b.Cancelled.Load() == 4 }, "the worker learns that nobody waits")
}

func TestTicketsAndHeadersGoWithTheRequest(t *testing.T) {
	pub, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	var got http.Header
	w := fleettest.New(t, nil)
	w.Set(func(s *fleettest.State) {
		s.Before = func(_ http.ResponseWriter, r *http.Request) bool { got = r.Header.Clone(); return false }
	})
	f, err := fleet.New(fleet.Config{
		Workers: []string{w.URL},
		Sign: func(course, version string, deadline time.Time) (string, error) {
			return ticket.Sign(key, ticket.New(course, version, deadline))
		},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var st jobs.Status
	require.NoError(t, f.Workers()[0].JSON(ctx, fleet.Request{Path: "/v1/status", Course: "c", Version: "v", ID: "i1"}, &st))
	_, err = ticket.NewVerifier(pub).Verify(got.Get("Authorization"), "c", "v")
	require.NoError(t, err)
	require.Equal(t, "i1", got.Get("Prairie-Id"))
	require.Regexp(t, `^[1-4]\d{3}$`, got.Get("Prairie-Deadline"))
}

func TestErrorsSayWhoIsToBlame(t *testing.T) {
	w := fleettest.New(t, nil)
	f, err := fleet.New(fleet.Config{Workers: []string{w.URL}})
	require.NoError(t, err)
	for status, want := range map[int]struct{ system, busy bool }{
		400: {}, 404: {}, 413: {},
		401: {system: true}, 429: {true, true}, 500: {system: true}, 503: {true, true},
	} {
		w.Set(func(s *fleettest.State) { s.Fail = status })
		_, err := f.Workers()[0].Send(context.Background(), fleet.Request{Path: "/v1/invoke", Body: []byte(`{}`)})
		var fe *fleet.Error
		require.ErrorAs(t, err, &fe)
		require.Equal(t, want.system, fe.System(), "%d", status)
		require.Equal(t, want.busy, fe.Busy(), "%d", status)
		require.Equal(t, "broken", fe.Answer.Code)
	}
	_, err = fleet.New(fleet.Config{Workers: []string{"localhost:1"}})
	require.Error(t, err)
}
