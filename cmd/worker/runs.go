package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/rs/zerolog"

	"github.com/prairielambda/prairielambda/jobs/pool"
	"github.com/prairielambda/prairielambda/jobs/runs"
	"github.com/prairielambda/prairielambda/jobs/worker"
)

// spools are the runs of one worker, in a directory of the operator's or in one
// that goes with the worker.
type spools struct {
	*runs.Store
	temporary string
}

func (s *serve) spools(p *pool.Pool, log zerolog.Logger) (sp spools, err error) {
	dir := s.runs
	if dir == "" {
		sweepTemporary()
		if dir, err = os.MkdirTemp("", temporaryPrefix); err != nil {
			return sp, fmt.Errorf("open runs: %w", err)
		}
		sp.temporary = dir
	}
	sp.Store, err = worker.OpenRuns(p, runs.Config{Dir: dir, Keep: time.Duration(s.keep), Log: log})
	if err != nil {
		os.Remove(sp.temporary)
	}
	return sp, err
}

const temporaryPrefix = "prairie-runs-"

// sweepTemporary removes what killed workers left: nobody holds its lock. One
// that is young may be about to be locked.
func sweepTemporary() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), temporaryPrefix+"*")) // the pattern is good
	for _, d := range dirs {
		st, err := os.Lstat(d)
		if err != nil || !st.IsDir() || st.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) || time.Since(st.ModTime()) < time.Minute {
			continue
		}
		lock := flock.New(filepath.Join(d, "lock"))
		if held, err := lock.TryLock(); err == nil && held {
			os.RemoveAll(d)
			lock.Unlock()
		}
	}
}

// close ends what still runs; nobody can be told of a failure here.
func (s spools) close() {
	s.Store.Close()
	if s.temporary != "" {
		os.RemoveAll(s.temporary)
	}
}
