package scheduler

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/prairielambda/prairielambda/scheduler/fleet"
	"github.com/prairielambda/prairielambda/scheduler/hedge"
	"github.com/prairielambda/prairielambda/scheduler/scale"
)

// newScaler makes the scaler, where there is somebody who starts workers.
func (g *Gateway) newScaler() (err error) {
	if g.cfg.Scale == nil {
		return nil
	}
	cfg := *g.cfg.Scale
	cfg.Figures, cfg.Log, cfg.Register = g.figures, g.cfg.Log, g.cfg.Registry
	g.scaler, err = scale.New(cfg)
	return err
}

func (g *Gateway) figures() (f scale.Figures) {
	f.Workers, f.Slots, f.Busy, f.Calls = g.fleet.Load()
	running, waiting := g.queue.Depth()
	f.Busy, f.Waiting, f.Held = max(f.Busy, min(running, f.Slots)), waiting, int(g.held.Load())
	return f
}

// enter waits until somebody could run a call, and then for a place for it.
func (g *Gateway) enter(ctx context.Context, name string) (leave func(), err error) {
	if err := g.anybody(ctx); err != nil {
		return nil, err
	}
	return g.queue.Enter(ctx, name)
}

// anybody waits until there is a worker.
func (g *Gateway) anybody(ctx context.Context) error {
	if g.fleet.Ready() {
		return nil
	}
	wait, cancel := g.patience(ctx)
	defer cancel()
	return g.await(wait, nil)
}

// patience ends with hedge.ErrNobody when a call has waited for a worker as long
// as it may: as long as a call may take where somebody starts one, else as long as
// one needs to come back.
func (g *Gateway) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	d := g.cfg.Patience
	if g.scaler != nil {
		d = g.cfg.Deadline
	}
	return context.WithTimeoutCause(ctx, d, hedge.ErrNobody)
}

// await waits for a worker that only lets through, within ctx and among a
// bounded number of others.
func (g *Gateway) await(ctx context.Context, only func(*fleet.Worker) bool) error {
	return g.hold(func() error { return g.fleet.Await(ctx, only) })
}

// named reports whether there is a worker with such a name. One that has not said yet
// who it is may be the one: it is waited for as long as any that is not there.
func (g *Gateway) named(ctx context.Context, is func(string) bool) (found bool, err error) {
	if slices.ContainsFunc(g.fleet.Workers(), func(w *fleet.Worker) bool { return is(w.Name()) }) {
		return true, nil
	}
	wait, cancel := g.patience(ctx)
	defer cancel()
	err = g.hold(func() error {
		found, err = g.fleet.AwaitName(wait, is)
		return err
	})
	return found, err
}

// hold waits among a bounded number of others.
func (g *Gateway) hold(wait func() error) error {
	defer g.held.Add(-1)
	if g.held.Add(1) > int64(g.cfg.MaxHeld) {
		f := refuse(http.StatusTooManyRequests, "busy", "too many calls wait for a worker")
		f.body.Retryable, f.retryAfter = true, 5*time.Second
		return f
	}
	if g.scaler != nil {
		g.scaler.Wake()
	}
	return wait()
}
