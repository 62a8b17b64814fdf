package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/prairielambda/prairielambda/jobs"
)

// run is the life of one run, from its place in the queue to its end.
func (s *Store) run(sp *spool, id string, req *jobs.RunRequest) {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Longest)
	defer cancel()
	w := &writer{spool: sp, room: s.cfg.Bytes}
	e := s.execute(ctx, w, id, req)
	e.Dropped = w.dropped
	if err := errors.Join(w.err, sp.finish(e)); err != nil {
		s.cfg.Log.Error().Err(err).Str("run", id).Msg("spool cannot be written")
	}
}

func (s *Store) execute(ctx context.Context, w *writer, id string, req *jobs.RunRequest) ending {
	select {
	case s.running <- struct{}{}:
		defer func() { <-s.running }()
	case <-ctx.Done():
		return s.failed(ctx, w, id, context.Cause(ctx))
	}
	if req.Grading != nil {
		return s.grade(ctx, w, id, req.Grading)
	}
	p := &req.Program
	res, err := s.cfg.Run(ctx, p, w)
	w.flush()
	if err != nil {
		return s.failed(ctx, w, id, err)
	}
	e := ending{Status: res.ExitCode, Outcome: res.Outcome, Message: messages[res.Outcome]}
	if len(p.Cases) > 0 && res.Outcome == jobs.OK && res.Cases != nil {
		report := reportOf(p.Cases, res.Cases)
		b, err := json.Marshal(report)
		if err != nil {
			return s.failed(ctx, w, id, err)
		}
		w.report(jobs.FrameLab, b)
		if e.Status = 0; !report.Success {
			e.Status = 1
		}
	}
	return e
}

// messages are the endings that a run's own output does not explain.
var messages = map[jobs.Outcome]string{
	jobs.BuildFailed:    "the program was not built",
	jobs.Timeout:        "the program took longer than it may",
	jobs.OutOfMemory:    "the program used more memory than it may",
	jobs.OutputTooLarge: "the program printed more than it may",
	jobs.Killed:         "the program was ended from outside",
}

// failed ends a run without a result. What a program lacks is told; what we
// failed at goes to the log.
func (s *Store) failed(ctx context.Context, w *writer, id string, err error) ending {
	var je *jobs.Error
	if errors.As(err, &je) {
		w.say(jobs.FrameConsole, je.Message)
		return ending{Status: -1, Outcome: jobs.Missing, Message: je.Message}
	}
	text := "the worker failed to run the program; start it again"
	switch {
	case s.ctx.Err() != nil:
		text = "the worker stopped before the program had ended; start it again"
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		w.say(jobs.FrameConsole, fmt.Sprintf("not done after %v, its wait for a place included", s.cfg.Longest))
		return ending{Status: -1, Outcome: jobs.Timeout, Message: messages[jobs.Timeout]}
	default:
		s.cfg.Log.Error().Err(err).Str("run", id).Msg("run failed")
	}
	w.say(jobs.FrameInternal, text)
	return ending{Status: -1, Outcome: jobs.Killed, Message: text}
}
