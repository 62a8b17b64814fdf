// Package worker is a worker's HTTP face: what a gateway calls.
//
//	POST /v1/invoke                         jobs.Invocation -> jobs.Result, or lines of jobs.Progress
//	GET  /v1/session                        WebSocket: PrairieLearn executor lines -> answers
//	POST /v1/run                            jobs.Program -> jobs.ProgramResult
//	POST /v1/project                        jobs.Program -> {"files": [jobs.ProgramFile]}
//	POST /v1/runs, GET /v1/runs/{id}        asynchronous runs: jobs.RunRequest, jobs.RunChunk
//	DELETE /v1/runs                         forget the completed ones
//	POST /v1/gradable   jobs.Grading     -> {}, or why it could not begin
//	GET  /v1/versions/{course}/{version}    jobs.VersionInfo
//	GET  /v1/files/{course}/{version}/...   client files, with ETag and Range
//	GET  /v1/status                         jobs.Status
//	GET  /healthz /readyz /metrics
//
// It guarantees that 200 means the calls ran, whatever became of them, and that
// any other status is {"error": jobs.Error}: 4xx the request's fault, 5xx ours,
// with retryable set where another worker may do better. It refuses browsers
// (any Origin), names that are not its own where it has no tickets to check,
// and every call without a good ticket where it has.
package worker

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
	"github.com/prairielambda/prairielambda/jobs/runs"
	"github.com/prairielambda/prairielambda/jobs/ticket"
)

// Config is a worker's configuration; Pool and Courses are required.
type Config struct {
	Pool     *pool.Pool
	Courses  *pool.Courses
	Runs     *runs.Store      // nil: no asynchronous runs
	Tickets  *ticket.Verifier // nil: no tickets, loopback names only
	Name     string           // see jobs.Status
	Runtimes []jobs.Runtime
	Tier     string
	Tracer   trace.Tracer // nil draws no spans
	MaxBody  int64        // bytes of a request; 32 MiB when 0
	Registry *prometheus.Registry
	Log      zerolog.Logger
}

// Worker is an http.Handler.
type Worker struct {
	cfg      Config
	mux      *http.ServeMux
	metrics  *metrics
	draining atomic.Bool
	calls    sync.WaitGroup
	taken    atomic.Uint64 // requests let in
}

// New returns a worker that is ready.
func New(cfg Config) *Worker {
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 32 << 20
	}
	if cfg.Registry == nil {
		cfg.Registry = prometheus.NewRegistry()
	}
	w := &Worker{cfg: cfg, mux: http.NewServeMux(), metrics: newMetrics(cfg.Registry, cfg.Pool, cfg.Tier)}
	w.mux.HandleFunc("POST /v1/invoke", w.invoke)
	w.mux.HandleFunc("POST /v1/run", w.run)
	w.mux.HandleFunc("POST /v1/project", w.project)
	w.mux.HandleFunc("POST /v1/gradable", w.gradable)
	if cfg.Runs != nil {
		w.mux.HandleFunc("POST /v1/runs", w.createRun)
		w.mux.HandleFunc("GET /v1/runs/{id}", w.readRun)
		w.mux.HandleFunc("DELETE /v1/runs", w.forgetRuns)
	}
	w.mux.HandleFunc("GET /v1/session", w.session)
	w.mux.HandleFunc("GET /v1/versions/{course}/{version}", w.version)
	w.mux.HandleFunc("GET /v1/files/{course}/{version}/{path...}", w.file)
	w.mux.HandleFunc("GET /v1/status", w.status)
	w.mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNoContent) })
	w.mux.HandleFunc("GET /readyz", w.ready)
	w.mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Registry, promhttp.HandlerOpts{}))
	return w
}

// ServeHTTP implements http.Handler.
func (w *Worker) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("Prairie-Id")
	if r.Header.Get("Origin") != "" {
		fail(rw, http.StatusForbidden, &jobs.Error{Code: "origin", Message: "a worker does not answer browsers", ID: id})
		return
	}
	if w.cfg.Tickets == nil && !loopbackHost(r.Host) {
		fail(rw, http.StatusForbidden, &jobs.Error{
			Code: "host", ID: id,
			Message: "without tickets a worker answers to loopback names only, not to " + strconv.Quote(r.Host),
		})
		return
	}
	rw.Header().Set("Prairie-Id", id)
	r, end := w.traced(r)
	defer end()
	w.mux.ServeHTTP(rw, r)
}

// loopbackHost: a page of a foreign site whose name was rebound to 127.0.0.1
// still sends its own name.
func loopbackHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Drain refuses new calls and waits until the running ones have been answered
// and the asynchronous runs have ended.
func (w *Worker) Drain(ctx context.Context) error {
	w.draining.Store(true)
	if w.cfg.Runs != nil {
		if err := w.cfg.Runs.Drain(ctx); err != nil {
			return err
		}
	}
	done := make(chan struct{})
	go func() {
		w.calls.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *Worker) ready(rw http.ResponseWriter, _ *http.Request) {
	if w.draining.Load() {
		fail(rw, http.StatusServiceUnavailable, &jobs.Error{Code: "draining", Message: "this worker is draining", Retryable: true})
		return
	}
	rw.WriteHeader(http.StatusNoContent)
}

func (w *Worker) status(rw http.ResponseWriter, _ *http.Request) {
	busy, slots := w.cfg.Pool.Busy()
	answer(rw, jobs.Status{
		Name: w.cfg.Name, Tier: w.cfg.Tier, Runtimes: w.cfg.Runtimes, Slots: slots, Busy: busy, Taken: w.taken.Load(), Draining: w.draining.Load(),
	})
}

func answer(rw http.ResponseWriter, v any) { answerStatus(rw, http.StatusOK, v) }

func answerStatus(rw http.ResponseWriter, status int, v any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(v) // the caller left
}

func fail(rw http.ResponseWriter, status int, e *jobs.Error) {
	rw.Header().Set("Content-Type", "application/json")
	if e.Retryable {
		rw.Header().Set("Retry-After", "1")
	}
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(map[string]*jobs.Error{"error": e})
}
