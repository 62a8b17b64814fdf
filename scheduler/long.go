package scheduler

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/runs"
)

// Long runs programs apart from the workers: those that ask for more time than a
// worker gives, and external graders. fleet.Long is one; its errors are fleet.ErrLongFull and
// fleet.ErrLongMissing where the caller can do something about them.
type Long interface {
	// Name is what task ids name in a worker's place.
	Name() string
	// Start begins a run, once for its owner and a name, and returns its id.
	Start(ctx context.Context, name string, run *jobs.RunRequest) (id string, err error)
	// Read is as a worker's: see jobs.RunChunk.
	Read(ctx context.Context, id, owner string, from int, wait time.Duration) (*jobs.RunChunk, error)
	// Cancel ends a run; one that has ended stays as it is.
	Cancel(ctx context.Context, id, owner string) error
}

// isLong reports whether a submission is for Long: it asks for more time than
// workers give, or for a mode that always takes long.
func (g *Gateway) isLong(p *jobs.Program) bool {
	return g.cfg.Long != nil && (p.Limits.Wall > g.cfg.LongAfter || slices.Contains(g.cfg.LongModes, p.Mode))
}

func (g *Gateway) startLong(ctx context.Context, x *exchange, run *jobs.RunRequest) (string, error) {
	id, err := g.cfg.Long.Start(ctx, x.id, run)
	if err != nil {
		return "", err
	}
	return runs.TaskID(g.cfg.Long.Name(), id), nil
}

// cancelRun ends a long run. Others end by themselves within a worker's limits.
func (g *Gateway) cancelRun(x *exchange) error {
	run, is, ok := runs.SplitTaskID(x.vars["id"])
	if !ok {
		return refuse(http.StatusNotFound, jobs.RunMissing, "no run has this identifier")
	}
	if g.cfg.Long == nil || !is(g.cfg.Long.Name()) {
		return refuse(http.StatusConflict, "not_long", "only long runs can be ended: this one ends soon")
	}
	ctx, cancel := g.deadline(x)
	defer cancel()
	if err := g.cfg.Long.Cancel(ctx, run, x.note.token); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}
