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
	own     []sandbox.Mount
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
	select {
	case p.running <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a place to run: %w", context.Cause(ctx))
	}
	s := &Session{pool: p, limits: p.limits(inv.Limits), leave: func() { <-p.running }}
	if err = s.open(ctx, inv); isStale(err) {
		p.cfg.Courses.reopen()
		s.letGo()
		err = s.open(ctx, inv)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Session) open(ctx context.Context, inv *jobs.Invocation) (err error) {
	if s.version, err = s.pool.cfg.Courses.hold(inv.Course, inv.Version); err != nil {
		return err
	}
	if l, err := s.version.lambdaOf(inv, jobs.Call{Type: jobs.Question}); err != nil {
		return err
	} else if l != nil && !l.python() {
		return &jobs.Error{Code: "bad_request", Message: "this course has an HTTP server of its own, which knows no executor lines"}
	}
	if s.own, err = s.version.own(inv); err != nil {
		return err
	}
	s.config = config(inv, s.limits)
	s.box, s.fresh, err = s.pool.claim(ctx, s.version, s.own, s.limits)
	return err
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
	s.letGo()
	s.leave()
	s.leave = nil
	return u
}

// letGo gives back what the session holds of its course.
func (s *Session) letGo() {
	closeMounts(s.own)
	if s.version != nil {
		s.pool.cfg.Courses.release(s.version)
	}
	s.own, s.version = nil, nil
}

// SessionIdle is how long a session may rest between two lines.
const SessionIdle = 10 * time.Second
