// Package scheduler is the gateway: one HTTP front for questions, elements,
// batches, whole phases and client files of courses, answered by a fleet of
// workers.
//
// It guarantees that a call has exactly one visible result, however many workers
// tried it; that "current" is resolved once per request and carried to the end;
// that a failure of ours (5xx, retried elsewhere first) is never blamed on the
// course, and the course's failure (422) never on us; that no work goes on for a
// caller that left; and that payloads never reach a log.
//
// It refuses names that could leave a course, bodies that are too large, hosts
// and origins it does not know, and new work while it drains.
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/singleflight"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/admit"
	"github.com/prairielambda/prairielambda/scheduler/builder"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
	"github.com/prairielambda/prairielambda/scheduler/hedge"
	"github.com/prairielambda/prairielambda/scheduler/rendercache"
	"github.com/prairielambda/prairielambda/scheduler/scale"
	"github.com/prairielambda/prairielambda/scheduler/token"
)

// Config configures a Gateway. The zero value of a field means its default.
type Config struct {
	Workers []string     // base URLs of workers
	Source  fleet.Source // where more workers come and go

	// Sign returns the Authorization header for a request to a worker; nil sends none.
	Sign func(course, version string, deadline time.Time) (string, error)
	// Transport reaches the workers; default: plain keep-alive HTTP.
	Transport http.RoundTripper

	// Tokens says who may call; nil lets everybody who can reach the gateway.
	Tokens *token.Store

	Hosts   []string // host names that requests may carry, besides addresses and localhost
	Origins []string // origins of pages that may call, besides pages of the gateway's own host

	MaxBody     int64         // bytes of one request; default 16 MiB
	MaxAnswer   int64         // bytes of one worker's answer; default 256 MiB
	MaxItems    int           // items of one batch; default 1000
	Deadline    time.Duration // of a call that names none, and the longest that one may name; default 2 min
	BodyTime    time.Duration // to receive one request's body; default 30 s
	WriteTime   time.Duration // for a caller to take one piece of an answer; default 1 min
	MaxWait     time.Duration // longest estimated wait for a place; default 5 s
	CurrentTTL  time.Duration // how long "current" may mean what it last meant; default 100 ms
	Limits      jobs.Limits   // sent with every invocation; zero fields are the worker's own
	SessionIdle time.Duration // how long a session may rest between two calls; default 10 s
	SessionTime time.Duration // how long a session may live; default 30 min

	CacheBytes int64         // of the render cache in memory; default 64 MiB, negative turns the cache off
	CacheTTL   time.Duration // of one kept result; default 1 h
	CacheDir   string        // a directory of its own for kept results; empty keeps them in memory only
	HedgeShare float64       // extra executions, as a share of calls; default 0.05, negative turns hedging off

	// Scale is who starts workers when there is none or too few. Its Figures, Log
	// and Register are the gateway's. Nil: nobody starts any.
	Scale *scale.Config
	// Patience is how long a call waits for a worker when none is there, or none is
	// left that could run it; default 20 s. With Scale it waits until its deadline.
	Patience time.Duration
	MaxHeld  int // calls that wait so; default 1000

	// Long runs what asks for more than LongAfter, and every program in one of
	// LongModes; nil leaves all to the workers.
	Long      Long
	LongAfter time.Duration // default 10 s
	LongModes []string

	// Builder makes the environments that programs bring recipes for; nil makes none.
	Builder *builder.Client

	// Fallback answers what is no route of the gateway, behind the same checks of
	// Host and Origin; nil answers 404.
	Fallback http.Handler

	// Tracer draws every exchange and every request to a worker; nil draws none and
	// passes traceparent on as it came.
	Tracer   trace.Tracer
	Log      zerolog.Logger
	Registry *prometheus.Registry // default: one of its own, with the process's own figures
}

func (c *Config) defaults() {
	set(&c.MaxBody, 16<<20)
	set(&c.MaxItems, 1000)
	set(&c.MaxHeld, 1000)
	set(&c.Patience, 20*time.Second)
	set(&c.LongAfter, 10*time.Second)
	set(&c.Deadline, 2*time.Minute)
	set(&c.BodyTime, 30*time.Second)
	set(&c.WriteTime, time.Minute)
	set(&c.CurrentTTL, 100*time.Millisecond)
	set(&c.SessionIdle, 10*time.Second)
	set(&c.SessionTime, 30*time.Minute)
	set(&c.HedgeShare, 0.05)
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
		c.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
}

// set gives *v a default.
func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Gateway is the http.Handler. It is safe for concurrent use.
type Gateway struct {
	cfg       Config
	fleet     *fleet.Fleet
	queue     *admit.Queue
	cache     *rendercache.Cache // nil when it is off
	limiter   *token.Limiter
	budget    *hedge.Budget
	latency   *hedge.Latency
	metrics   *metrics
	scaler    *scale.Scaler // nil when nobody scales
	held      atomic.Int64  // calls that wait until a worker is there
	endpoints []endpoint
	versions  versions
	lookups   singleflight.Group
	draining  atomic.Bool
	attempts  sync.WaitGroup // attempts that lost a race
	sockets   sync.WaitGroup // sessions, which http.Server no longer knows
	cut       chan struct{}  // closed to end them
}

// New returns a gateway. Its workers are probed while Run runs.
func New(cfg Config) (*Gateway, error) {
	cfg.defaults()
	m, err := newMetrics(cfg.Registry)
	if err != nil {
		return nil, fmt.Errorf("scheduler: %w", err)
	}
	f, err := fleet.New(fleet.Config{
		Workers: cfg.Workers, Source: cfg.Source, Sign: cfg.Sign, Transport: cfg.Transport, MaxAnswer: cfg.MaxAnswer, Tracer: cfg.Tracer,
		Log: cfg.Log, Register: cfg.Registry,
	})
	if err != nil {
		return nil, fmt.Errorf("scheduler: %w", err)
	}
	g := &Gateway{
		cfg: cfg, fleet: f, metrics: m,
		budget:  hedge.NewBudget(max(cfg.HedgeShare, 0), 10),
		latency: hedge.NewLatency(),
		limiter: token.NewLimiter(),
		cut:     make(chan struct{}),
	}
	g.queue = admit.New(admit.Config{Capacity: g.capacity, MaxWait: cfg.MaxWait})
	g.endpoints = endpoints()
	if cfg.CacheBytes >= 0 {
		g.cache, err = rendercache.New(rendercache.Config{
			Bytes: cfg.CacheBytes, TTL: cfg.CacheTTL, Dir: cfg.CacheDir, FillTime: cfg.Deadline, Register: cfg.Registry,
		})
		if err != nil {
			return nil, fmt.Errorf("scheduler: %w", err)
		}
	}
	if err := g.observe(); err != nil {
		return nil, fmt.Errorf("scheduler: %w", err)
	}
	if err := g.newScaler(); err != nil {
		return nil, fmt.Errorf("scheduler: %w", err)
	}
	return g, nil
}

// capacity is how many calls run at once: a quarter more than the workers have
// slots for, so that a freed slot finds its next call already there.
func (g *Gateway) capacity() int {
	slots := g.fleet.Slots()
	if slots == 0 {
		return 8 // nobody has been probed yet
	}
	return slots + (slots+3)/4
}

// Run probes the workers, and scales them where it should, until ctx ends, and returns when every goroutine of the
// gateway has ended.
func (g *Gateway) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	if g.scaler != nil {
		beside.Go(func() { g.scaler.Run(ctx) })
	}
	beside.Go(func() { g.fleet.Follow(ctx, g.queue.Fill) })
	err := g.fleet.Run(ctx)
	beside.Wait()
	if g.cache != nil {
		g.cache.Close()
	}
	g.attempts.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// Drain makes /readyz false, so that no new callers come. Calls go on being answered.
func (g *Gateway) Drain() { g.draining.Store(true) }
