package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
)

type metrics struct {
	phases       *prometheus.HistogramVec
	outcomes     *prometheus.CounterVec
	gone, failed prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, p *pool.Pool, tier string) *metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "prairie_worker_running", Help: "Invocations that run now.",
	}, func() float64 { n, _ := p.Busy(); return float64(n) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "prairie_worker_sandbox_info", Help: "The tier of isolation in force.",
		ConstLabels: prometheus.Labels{"tier": tier},
	}, func() float64 { return 1 })
	for state, read := range map[string]func() int{
		"free": func() int { _, n, _ := p.Slots(); return n }, "quarantined": func() int { _, _, n := p.Slots(); return n },
	} {
		f.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "prairie_worker_slots", Help: "Sandbox slots by state.", ConstLabels: prometheus.Labels{"state": state},
		}, func() float64 { return float64(read()) })
	}
	for kind, read := range map[string]func() int{
		"version": func() int { _, _, n := p.Claims(); return n }, "question": p.Hot,
	} {
		f.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "prairie_worker_spares", Help: "Spares that wait, by what they have mounted.", ConstLabels: prometheus.Labels{"kind": kind},
		}, func() float64 { return float64(read()) })
	}
	return &metrics{
		phases: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "prairie_worker_phase_seconds", Help: "Time of an invocation by phase.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 14),
		}, []string{"phase"}),
		outcomes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "prairie_worker_calls_total", Help: "Calls by outcome.",
		}, []string{"outcome"}),
		gone: f.NewCounter(prometheus.CounterOpts{
			Name: "prairie_worker_abandoned_total", Help: "Invocations whose caller left.",
		}),
		failed: f.NewCounter(prometheus.CounterOpts{
			Name: "prairie_worker_errors_total", Help: "Invocations that failed by our own fault.",
		}),
	}
}

func (m *metrics) observe(r *jobs.Result) {
	for name, d := range map[string]time.Duration{
		"queue": r.Phases.Queue, "claim": r.Phases.Claim, "run": r.Phases.Run, "collect": r.Phases.Collect,
	} {
		m.phases.WithLabelValues(name).Observe(d.Seconds())
	}
	for _, c := range r.Calls {
		m.outcomes.WithLabelValues(string(c.Outcome)).Inc()
	}
}
