package scheduler

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/prairielambda/prairielambda/scheduler/scale"
)

// newScaler makes the scaler, where there is somebody who starts workers.
func (g *Gateway) newScaler() (err error) {
	if g.cfg.Scale == nil {
		return nil
	}
	cfg := *g.cfg.Scale
	cfg.Figures, cfg.Log, cfg.Register = g.figures, g.cfg.Log, g.cfg.Registry
	if g.scaler, err = scale.New(cfg); err != nil {
		return err
	}
	return g.cfg.Registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "prairie_gateway_held", Help: "Calls that wait for a first worker.",
	}, func() float64 { return float64(g.held.Load()) }))
}

func (g *Gateway) figures() (f scale.Figures) {
	f.Workers, f.Slots, f.Busy, f.Calls = g.fleet.Load()
	running, waiting := g.queue.Depth()
	f.Busy, f.Waiting, f.Held = max(f.Busy, min(running, f.Slots)), waiting, int(g.held.Load())
	return f
}

// hold lets a call wait for a first worker where one can be had. What follows a
// call or needs no worker goes on.
func (g *Gateway) hold(x *exchange, e *endpoint) error {
	if g.scaler == nil || e.access != scoped || e.verb == "metrics" || e.verb == "purge" || g.fleet.Ready() {
		return nil
	}
	defer g.held.Add(-1)
	if g.held.Add(1) > int64(g.cfg.MaxHeld) {
		f := refuse(http.StatusTooManyRequests, "busy", "too many calls wait for a first worker")
		f.body.Retryable, f.retryAfter = true, 5*time.Second
		return f
	}
	ctx, cancel := g.deadline(x)
	defer cancel()
	g.scaler.Wake()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !g.fleet.Ready() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
