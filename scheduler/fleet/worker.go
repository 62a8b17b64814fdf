package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
)

// ErrDown is why a request ends when its worker stopped answering.
var ErrDown = errors.New("worker stopped answering")

// Worker is one worker. It is safe for concurrent use.
type Worker struct {
	URL string

	fleet    *Fleet
	inflight atomic.Int64
	up       atomic.Bool
	state    atomic.Pointer[state]
	kick     chan struct{} // asks for a probe now
	gone     chan struct{} // closed when the worker leaves the fleet

	mu   sync.Mutex // guards life and end
	life context.Context
	end  context.CancelCauseFunc // ends every request in flight
}

type state struct {
	status jobs.Status
	digest string
}

func newWorker(f *Fleet, url string) *Worker {
	w := &Worker{URL: url, fleet: f, kick: make(chan struct{}, 1), gone: make(chan struct{})}
	w.state.Store(&state{})
	w.life, w.end = context.WithCancelCause(context.Background())
	return w
}

// Up reports whether the worker answers its probes and is not draining.
func (w *Worker) Up() bool { return w.up.Load() }

// Status is what the worker last said of itself.
func (w *Worker) Status() jobs.Status { return w.state.Load().status }

// Runtimes is a digest of the tier and runtimes of the worker, or "" before it
// told them: two workers with the same digest compute the same results.
func (w *Worker) Runtimes() string { return w.state.Load().digest }

// Name is the worker's stable name: its own, or its URL.
func (w *Worker) Name() string {
	if n := w.Status().Name; n != "" {
		return n
	}
	return w.URL
}

// lost ends the requests in flight; later ones get a life of their own where the
// worker stays.
func (w *Worker) lost(stays bool) {
	w.mu.Lock()
	end := w.end
	if stays {
		w.life, w.end = context.WithCancelCause(context.Background())
	}
	w.mu.Unlock()
	end(ErrDown)
}

func (w *Worker) alive() context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.life
}

// suspect takes the worker out of the first choice until a probe says otherwise.
func (w *Worker) suspect() {
	w.up.Store(false)
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// patience is how many times longer calls in flight are left to a silent worker
// when there is no other that could run them: it may just be very busy.
const patience = 10

// probeUntil probes until ctx ends, or until the worker has left the fleet and
// nothing is in flight there: one that drains leaves first, and ends what it runs.
func (w *Worker) probeUntil(ctx context.Context) {
	tick := time.NewTicker(w.fleet.cfg.Interval)
	defer tick.Stop()
	gone := w.gone
	failed := 0
	for {
		err := w.probe(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failed = 0
		default:
			failed++
			w.fleet.probes.WithLabelValues(w.URL).Inc()
			if failed == w.fleet.cfg.Failures {
				w.up.Store(false)
				w.fleet.cfg.Log.Warn().Err(err).Str("worker", w.URL).Msg("worker is down")
			}
			if n := w.fleet.cfg.Failures; failed >= n && (gone == nil || w.fleet.Ready() || failed >= patience*n) {
				w.lost(true)
			}
		}
		w.fleet.show(w)
		if gone == nil && w.inflight.Load() == 0 {
			w.lost(false) // who still comes is too late
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-gone:
			gone = nil
		case <-tick.C:
		case <-w.kick:
			// A worker that refuses connections answers a probe as fast: do not spin on it.
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(20*time.Millisecond, w.fleet.cfg.Interval)):
			}
		}
	}
}

func (w *Worker) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.fleet.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL+"/v1/status", nil)
	if err != nil {
		return fmt.Errorf("probe %s: %w", w.URL, err)
	}
	res, err := w.fleet.cfg.Transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("probe %s: %w", w.URL, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("probe %s: %s", w.URL, res.Status)
	}
	var st jobs.Status
	if err := json.Unmarshal(body, &st); err != nil {
		return fmt.Errorf("probe %s: %w", w.URL, err)
	}
	runtimes, err := json.Marshal(st.Runtimes)
	if err != nil {
		return fmt.Errorf("probe %s: %w", w.URL, err)
	}
	sum := sha256.Sum256(append(runtimes, st.Tier...))
	before := w.state.Swap(&state{status: st, digest: hex.EncodeToString(sum[:])})
	came := !w.up.Swap(!st.Draining) && !st.Draining
	if came || before.digest == "" || before.status.Name != st.Name {
		w.fleet.announce()
	}
	if came {
		w.fleet.cfg.Log.Info().Str("worker", w.URL).Str("tier", st.Tier).Int("slots", st.Slots).Msg("worker is up")
	}
	return nil
}
