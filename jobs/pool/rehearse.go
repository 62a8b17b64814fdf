package pool

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// Rehearse runs one call as a session of its own in the sandbox of the one
// before: the course's modules are executed afresh, libraries stay loaded. It is
// for a question's own tests, where nobody's answers could meet: isolated from
// everything but the calls before it. Once alive is false there is no other.
//
// A Session is used for Rehearse or for Line, not for both.
func (s *Session) Rehearse(ctx context.Context, call jobs.Call, data json.RawMessage) (res *jobs.Result, alive bool, err error) {
	start := time.Now()
	msg, err := json.Marshal(rehearsal{sessionRequest{Session: s.config, Calls: []jobs.Call{call}, Data: data}, true})
	if err != nil {
		return nil, false, fmt.Errorf("encode the call: %w", err)
	}
	t, err := s.turn(ctx, msg)
	if err != nil {
		return nil, false, err
	}
	r, spent := callResult(t, call.Method)
	res = &jobs.Result{
		Version: s.version.name, Calls: []jobs.CallResult{r}, Tier: string(s.pool.cfg.Host.Tier()),
		Usage: jobs.Usage{Wall: r.Wall}, Phases: jobs.Phases{Run: time.Since(start)},
	}
	return res, t.Outcome == jobs.OK && !spent, nil
}

// rehearsal asks for a new session in an old process; see slate.py.
type rehearsal struct {
	sessionRequest
	Again bool `json:"again"`
}

// turn sends one request and returns what came of it.
func (s *Session) turn(ctx context.Context, msg []byte) (t sandbox.Turn, err error) {
	send := sandbox.Request(msg)
	if s.fresh {
		if t = s.box.Ready(ctx, send, readyWithin); t.Outcome != jobs.OK {
			return t, notReady(ctx, t)
		}
		s.fresh, send = false, nil
	}
	t = s.box.Turn(ctx, send, s.limits.Wall)
	if err := context.Cause(ctx); err != nil {
		return t, fmt.Errorf("%w: %w", ErrSessionLost, err)
	}
	return t, nil
}
