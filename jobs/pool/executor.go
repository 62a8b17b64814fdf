package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// Session is one sandbox that answers PrairieLearn's executor lines, one after
// another, in one process with one random stream. One goroutine uses it.
type Session struct {
	pool    *Pool
	version *version
	opened  *opened
	box     *sandbox.Box
	fresh   bool // its first frame, the one that says ready, is still to come
	limits  jobs.Limits
	config  sessionConfig
	leave   func()
}

// ErrSessionLost means that the sandbox is gone with what it knew: a session is
// never continued in a second process.
var ErrSessionLost = errors.New("the session's sandbox has ended")

// OpenSession claims a sandbox for the named question (which may be empty) of a
// course's version, and holds its place until Close. Only the names, the version
// and the limits of inv count.
func (p *Pool) OpenSession(ctx context.Context, inv *jobs.Invocation) (*Session, error) {
	ctx, leave, err := p.life.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	o, err := p.openSession(ctx, inv)
	if isStale(err) {
		p.cfg.Courses.reopen()
		o, err = p.openSession(ctx, inv)
	}
	if err != nil {
		return nil, err
	}
	free, err := p.place(ctx)
	if err != nil {
		o.close()
		return nil, err
	}
	limits := p.limits(inv.Limits)
	s := &Session{pool: p, opened: o, version: o.v, limits: limits, config: config(inv, limits), leave: free}
	if s.box, s.fresh, err = p.claim(ctx, o, o.groups[0].in, limits); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// openSession finds what a session needs of its course, which is one that knows
// executor lines.
func (p *Pool) openSession(ctx context.Context, inv *jobs.Invocation) (*opened, error) {
	one := *inv
	one.Calls = []jobs.Call{{Type: jobs.Question}}
	o, err := p.open(ctx, &one, false)
	if err != nil {
		return nil, err
	}
	g := &o.groups[0]
	switch {
	case !g.python():
		err = &jobs.Error{Code: "bad_request", Message: "this course has an HTTP server of its own, which knows no executor lines"}
	case g.wrong.Outcome != "":
		err = unusable("%s", g.wrong.Message)
	default:
		return o, nil
	}
	o.close()
	return nil, err
}

// Version is the version that the session runs, never "current".
func (s *Session) Version() string { return s.version.name }

// Line runs one executor line and returns its answer, one JSON object. After an
// answer whose error ended the sandbox, and after ErrSessionLost, there is no
// other line; any other error is ours.
func (s *Session) Line(ctx context.Context, line json.RawMessage) (answer json.RawMessage, alive bool, err error) {
	msg, err := json.Marshal(map[string]any{"session": s.config, "executor": line})
	if err != nil {
		return nil, false, fmt.Errorf("encode the line: %w", err)
	}
	t, err := s.turn(ctx, msg)
	if err != nil {
		return nil, false, err
	}
	var fields map[string]json.RawMessage
	if t.Outcome != jobs.OK || json.Unmarshal(t.Frame, &fields) != nil || fields == nil {
		if t.Outcome == jobs.OK {
			t.Outcome, t.Message = jobs.Killed, "answered with something that is not a result"
		}
		answer, err = json.Marshal(map[string]any{
			"data": nil, "functionMissing": false, "error": t.Message,
			"output": string(t.Stdout) + string(t.Stderr), "errorData": map[string]any{"outcome": t.Outcome},
		})
		return answer, false, err
	}
	if fields["output"], err = json.Marshal(string(t.Stdout) + string(t.Stderr)); err != nil {
		return nil, false, err
	}
	answer, err = json.Marshal(fields)
	return answer, true, err
}

// Close ends the session's sandbox and gives its place back.
func (s *Session) Close() (u jobs.Usage) {
	if s.leave == nil {
		return u
	}
	if s.box != nil {
		u = s.box.Close()
	}
	s.opened.close()
	s.leave()
	s.leave = nil
	return u
}

// SessionIdle is how long a session may rest between two lines.
const SessionIdle = 10 * time.Second
