package scheduler

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"github.com/prairielambda/prairielambda/jobs"
)

type metrics struct {
	requests *prometheus.CounterVec
	outcomes *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	phase    [4]prometheus.Observer // queue, claim, run, collect
	inflight prometheus.Gauge
	retries  prometheus.Counter
	hedges   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	buckets := prometheus.ExponentialBuckets(0.00025, 2, 17) // 0.25 ms to 16 s
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "prairie_gateway_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"verb", "status"}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "prairie_gateway_outcomes_total", Help: "Calls by outcome of the course's code, or code of the error.",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "prairie_gateway_request_seconds", Help: "Time from request to answer.", Buckets: buckets,
		}, []string{"verb"}),
		inflight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "prairie_gateway_inflight", Help: "Requests being answered.",
		}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "prairie_gateway_retries_total", Help: "Executions begun because an earlier one failed through our own fault.",
		}),
		hedges: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "prairie_gateway_hedges_total", Help: "Executions begun because an earlier one was slow.",
		}),
	}
	phase := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "prairie_gateway_phase_seconds", Help: "Parts of a call: queue (gateway and worker), claim, run, collect.", Buckets: buckets,
	}, []string{"phase"})
	for i, name := range []string{"queue", "claim", "run", "collect"} {
		m.phase[i] = phase.WithLabelValues(name)
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.requests, m.outcomes, m.seconds, phase, m.inflight, m.retries, m.hedges} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

// observe exports how many calls run and wait.
func (g *Gateway) observe() error {
	gauge := func(name, help string, f func() float64) error {
		return g.cfg.Registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	return errors.Join(
		gauge("prairie_gateway_running", "Calls that hold a place.", func() float64 { r, _ := g.queue.Depth(); return float64(r) }),
		gauge("prairie_gateway_waiting", "Calls that wait for a place.", func() float64 { _, w := g.queue.Depth(); return float64(w) }),
		gauge("prairie_gateway_held", "Calls that wait until a worker is there.", func() float64 { return float64(g.held.Load()) }),
	)
}

func (m *metrics) phases(queue time.Duration, res *jobs.Result) {
	for i, took := range [4]time.Duration{queue + res.Phases.Queue, res.Phases.Claim, res.Phases.Run, res.Phases.Collect} {
		m.phase[i].Observe(took.Seconds())
	}
}

// finish counts an exchange and writes its one log line: the access log and the
// audit trail at once. Names are in it, payloads never.
func (g *Gateway) finish(x *exchange, rec *recorder, took time.Duration) {
	n := &x.note
	if rec.status != 0 {
		n.status = rec.status
	}
	if n.verb == "" {
		n.verb = "none"
	}
	x.endSpan()
	g.metrics.requests.WithLabelValues(n.verb, strconv.Itoa(n.status)).Inc()
	g.metrics.seconds.WithLabelValues(n.verb).Observe(took.Seconds())
	if n.outcome != "" {
		g.metrics.outcomes.WithLabelValues(n.outcome).Inc()
	}
	level := zerolog.InfoLevel
	switch {
	case n.status >= 500:
		level = zerolog.ErrorLevel
	case n.verb == "health" || n.verb == "metrics" || n.verb == "other":
		level = zerolog.DebugLevel
	}
	e := g.cfg.Log.WithLevel(level)
	if e == nil {
		return
	}
	worker := ""
	if n.trip.worker != nil {
		worker = n.trip.worker.URL
	}
	for _, f := range []struct{ k, v string }{
		{"token", n.token},
		{"course", n.course},
		{"version", n.version},
		{"name", n.name},
		{"method", n.method},
		{"outcome", n.outcome},
		{"worker", worker},
		{"cache", n.cache},
	} {
		if f.v != "" {
			e = e.Str(f.k, f.v)
		}
	}
	if n.cause != nil {
		e = e.AnErr("error", n.cause)
	}
	if n.trip.tries > 1 {
		e = e.Int("tries", n.trip.tries).Bool("hedged", n.trip.hedged)
	}
	if x.span != nil {
		e = e.Stringer("trace", x.span.SpanContext().TraceID())
	}
	e.Str("id", x.id).Str("verb", n.verb).Int("status", n.status).Int64("bytes", rec.bytes).
		Dur("queue_ms", n.trip.queue).Dur("ms", took).Msg("call")
}

func (g *Gateway) health(x *exchange) error {
	x.send("text/plain; charset=utf-8", []byte("ok\n"))
	return nil
}

// ready is true while there is a worker for new calls, or somebody who starts one,
// and the gateway is not draining.
func (g *Gateway) ready(x *exchange) error {
	if g.draining.Load() {
		return refuse(http.StatusServiceUnavailable, "draining", "this gateway is being stopped")
	}
	if !g.fleet.Ready() && g.scaler == nil {
		return refuse(http.StatusServiceUnavailable, "no_worker", "no worker is there to take calls")
	}
	return g.health(x)
}

func (g *Gateway) serveMetrics(x *exchange) error {
	promhttp.HandlerFor(g.cfg.Registry, promhttp.HandlerOpts{}).ServeHTTP(x.w, x.r)
	return nil
}
