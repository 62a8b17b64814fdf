// Package fleet is the live workers as the gateway sees them: who is there, who
// is well, who is busy, and which of them a course version should go to.
//
// It guarantees that every gateway with the same workers prefers the same worker
// for a key (rendezvous hashing), so that warm sandboxes are hit; that a worker
// which refuses connections, drains or stops answering its probes is asked only
// when nobody else is left; that requests in flight at a worker that stops
// answering end with an error instead of waiting for it; and that those at a worker
// which leaves may end.
//
// It refuses to interpret what a worker answers beyond "did the worker do its
// job": outcomes of course code are data and pass through.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"
)

// Config configures a Fleet. The zero value of a field means its default.
type Config struct {
	Workers []string // base URLs, as in "http://127.0.0.1:7301"
	Source  Source   // where workers come and go, besides Workers

	// Sign returns the Authorization header that lets a request for course and
	// version in; nil sends none.
	Sign func(course, version string, deadline time.Time) (string, error)

	Transport http.RoundTripper // default: keep-alive connections, no proxy, no redirects
	Interval  time.Duration     // between two probes of one worker; default 500 ms
	Timeout   time.Duration     // of one probe; default 1 s
	MaxAnswer int64             // bytes read of one answer; default 256 MiB: some results of the largest size
	Failures  int               // probes in a row that must fail before a silent worker counts as down; default 3

	Tracer   trace.Tracer // draws every request but probes; nil draws none
	Log      zerolog.Logger
	Register prometheus.Registerer // default: a private one
}

// Source says which workers there are. Watch calls update with the complete list
// of base URLs, at once and after every change, until ctx ends; it returns only
// then. update may be called from one goroutine at a time.
type Source interface {
	Watch(ctx context.Context, update func(urls []string)) error
}

// Fleet is a set of workers. It is safe for concurrent use.
type Fleet struct {
	cfg    Config
	client *http.Client
	up     *prometheus.GaugeVec
	probes *prometheus.CounterVec
	wg     sync.WaitGroup // probers

	mu      sync.Mutex // guards workers, root and came
	workers []*Worker  // replaced as a whole, never changed in place
	root    context.Context
	came    chan struct{} // closed when the next worker comes up, tells its name or leaves
}

// New returns a fleet of cfg.Workers. Until Run is called nobody is probed and
// every worker is tried in its order.
func New(cfg Config) (*Fleet, error) {
	if cfg.Interval <= 0 {
		cfg.Interval = 500 * time.Millisecond
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = time.Second
	}
	if cfg.Failures <= 0 {
		cfg.Failures = 3
	}
	if cfg.MaxAnswer <= 0 {
		cfg.MaxAnswer = 256 << 20
	}
	if cfg.Transport == nil {
		cfg.Transport = newTransport()
	}
	if cfg.Register == nil {
		cfg.Register = prometheus.NewRegistry()
	}
	f := &Fleet{
		cfg:  cfg,
		came: make(chan struct{}),
		client: &http.Client{
			Transport:     cfg.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "prairie_gateway_worker_up", Help: "1 while the worker answers its probes and takes calls.",
		}, []string{"worker"}),
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "prairie_gateway_worker_probe_failures_total", Help: "Probes that a worker did not answer in time.",
		}, []string{"worker"}),
	}
	if err := errors.Join(cfg.Register.Register(f.up), cfg.Register.Register(f.probes)); err != nil {
		return nil, fmt.Errorf("fleet: metrics: %w", err)
	}
	if err := f.set(cfg.Workers); err != nil {
		return nil, err
	}
	return f, nil
}

// Run probes the workers and follows the Source until ctx ends, and returns once
// every goroutine of the fleet has ended.
func (f *Fleet) Run(ctx context.Context) error {
	f.mu.Lock()
	f.root = ctx
	ws := f.workers
	f.mu.Unlock()
	for _, w := range ws {
		f.watch(ctx, w)
	}
	var err error
	if f.cfg.Source != nil {
		err = f.cfg.Source.Watch(ctx, func(urls []string) {
			if err := f.set(append(slices.Clone(f.cfg.Workers), urls...)); err != nil {
				f.cfg.Log.Error().Err(err).Msg("worker list ignored")
			}
		})
	}
	<-ctx.Done()
	f.wg.Wait()
	f.client.CloseIdleConnections()
	return err
}

// set replaces the workers by urls; those that stay keep their state.
func (f *Fleet) set(urls []string) error {
	urls = slices.Compact(slices.Sorted(slices.Values(urls)))
	f.mu.Lock()
	old := f.workers
	f.mu.Unlock()
	var next, fresh []*Worker
	for _, raw := range urls {
		if i := slices.IndexFunc(old, func(w *Worker) bool { return w.URL == raw }); i >= 0 {
			next = append(next, old[i])
			continue
		}
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" {
			return fmt.Errorf("fleet: worker %q is not a URL like http://127.0.0.1:7301", raw)
		}
		w := newWorker(f, raw)
		next, fresh = append(next, w), append(fresh, w)
	}
	f.mu.Lock()
	f.workers = next
	root := f.root
	for _, w := range old {
		if !slices.Contains(next, w) {
			close(w.gone)
			f.up.DeleteLabelValues(w.URL)
		}
	}
	f.mu.Unlock()
	if root != nil {
		for _, w := range fresh {
			f.watch(root, w)
		}
	}
	f.announce()
	return nil
}

func (f *Fleet) watch(ctx context.Context, w *Worker) {
	f.wg.Add(1)
	go func() {
		defer f.wg.Done()
		w.probeUntil(ctx)
	}()
}

// show exports whether a worker takes calls, while it is one of the fleet's.
func (f *Fleet) show(w *Worker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.workers, w) {
		return
	}
	up := 0.0
	if w.Up() {
		up = 1
	}
	f.up.WithLabelValues(w.URL).Set(up)
}

// Workers returns all workers; the slice is the fleet's own and must not be changed.
func (f *Fleet) Workers() []*Worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.workers
}

// Ready reports whether at least one worker takes calls.
func (f *Fleet) Ready() bool { return f.Any(nil) }

// Any reports whether a worker takes calls that only lets through; nil lets all through.
func (f *Fleet) Any(only func(*Worker) bool) bool {
	return slices.ContainsFunc(f.Workers(), func(w *Worker) bool { return w.Up() && (only == nil || only(w)) })
}

// Await returns once there is Any, or with ctx's cause.
func (f *Fleet) Await(ctx context.Context, only func(*Worker) bool) error {
	return f.until(ctx, func() bool { return f.Any(only) })
}

// AwaitName returns once there is a worker whose name is lets through, up or not,
// or all workers have told theirs and there is none; or with ctx's cause.
func (f *Fleet) AwaitName(ctx context.Context, is func(string) bool) (found bool, err error) {
	err = f.until(ctx, func() bool {
		told := true
		for _, w := range f.Workers() {
			found, told = found || is(w.Name()), told && w.Runtimes() != ""
		}
		return found || told
	})
	return found, err
}

// Follow calls came at once and whenever a worker has come, until ctx ends.
func (f *Fleet) Follow(ctx context.Context, came func()) {
	_ = f.until(ctx, func() bool { came(); return false })
}

// until waits for what a worker that comes or goes may bring about.
func (f *Fleet) until(ctx context.Context, ok func() bool) error {
	for {
		f.mu.Lock()
		came := f.came
		f.mu.Unlock()
		if ok() {
			return nil
		}
		select {
		case <-came:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// announce wakes who waits until something is so.
func (f *Fleet) announce() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.came)
	f.came = make(chan struct{})
}

// Slots is the number of sandboxes that may run at once at the workers that take calls.
func (f *Fleet) Slots() int {
	n := 0
	for _, w := range f.Workers() {
		if w.Up() {
			n += w.Status().Slots
		}
	}
	return n
}

// Load is what the workers that take calls said last: how many they are, what
// they may run at once, what they run, and how many requests they have taken
// since they began.
func (f *Fleet) Load() (workers, slots, busy int, taken uint64) {
	for _, w := range f.Workers() {
		if w.Up() {
			st := w.Status()
			workers, slots, busy, taken = workers+1, slots+st.Slots, busy+st.Busy, taken+st.Taken
		}
	}
	return workers, slots, busy, taken
}
