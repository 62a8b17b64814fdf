package worker

import (
	"context"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
	"github.com/prairielambda/prairielambda/jobs/runs"
)

// OpenRuns opens a store of asynchronous runs whose programs and gradings p runs.
func OpenRuns(p *pool.Pool, cfg runs.Config) (*runs.Store, error) {
	cfg.Run = func(ctx context.Context, prog *jobs.Program, w runs.Watcher) (*jobs.ProgramResult, error) {
		return p.RunWatched(ctx, prog, w)
	}
	cfg.Grade = func(ctx context.Context, g *jobs.Grading, w runs.Watcher) (*jobs.Grade, error) {
		return p.Grade(ctx, g, w)
	}
	return runs.Open(cfg)
}
