package pool

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// A compiler that makes its library anew for each program needs many times what
// the program itself does. Once a language's first program has run, the worker
// does that part for all that follow: a command of the language's description, in
// a sandbox that sees nothing of any program, fills a directory. Its copy lies in the
// worker's own memory and is shown to later programs read-only.
type aheads struct {
	pool *Pool
	over context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	mu   sync.Mutex                  // guards the rest
	made map[string]*sandbox.Scratch // by language; nil while it is made, and where it cannot be
}

func newAheads(p *Pool) *aheads {
	over, end := context.WithCancel(context.Background())
	return &aheads{pool: p, over: over, end: end, made: map[string]*sandbox.Scratch{}}
}

// of is what was made ahead for l, or nil.
func (a *aheads) of(l *runtime.Language) *sandbox.Scratch {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.made[l.Name]
}

// want has it made, unless it was tried before, while slots are plenty.
func (a *aheads) want(l *runtime.Language) {
	total, free, _ := a.pool.Slots()
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, tried := a.made[l.Name]; tried || l.Ahead == nil || a.pool.cfg.Spares <= 0 || 2*free <= total || a.over.Err() != nil {
		return
	}
	a.made[l.Name] = nil
	a.work.Go(func() {
		made, err := a.make(l)
		if err != nil {
			if a.over.Err() == nil {
				a.pool.cfg.Log.Warn().Err(err).Str("runtime", l.Name).Msg("cannot work ahead")
			}
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.made[l.Name] = made
	})
}

const aheadDir = "/work"

func (a *aheads) make(l *runtime.Language) (*sandbox.Scratch, error) {
	size := l.Ahead.FilesMiB << 20
	scratch, err := a.pool.cfg.Host.NewScratch(size, nil)
	if err != nil {
		return nil, err
	}
	defer scratch.Close()
	limits := withStep(a.pool.limits(jobs.Limits{}), l.Ahead)
	box, err := a.pool.cfg.Host.Exec(a.over, sandbox.Spec{Limits: limits, Scratch: scratch}, sandbox.Command{
		Root: l.Root(), Dir: aheadDir, Env: l.Environment(aheadDir), Argv: l.Ahead.Command,
	})
	if err != nil {
		return nil, err
	}
	t := box.Wait(a.over, limits.Wall)
	used := box.Close()
	if outcome, code, _ := fate(t, used, limits); outcome != jobs.OK || code != 0 {
		return nil, fmt.Errorf("%s: %s, exit code %d: %.1000q", l.Ahead.Command[0], outcome, code, t.Stderr)
	}
	a.pool.cfg.Log.Info().Str("runtime", l.Name).Dur("took", used.Wall.Round(time.Millisecond)).Msg("worked ahead")
	return scratch.Keep(size)
}

// close ends what is being made and lets go of what was.
func (a *aheads) close() {
	a.end()
	a.work.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.made {
		if s != nil {
			_ = s.Close()
		}
	}
	clear(a.made)
}
