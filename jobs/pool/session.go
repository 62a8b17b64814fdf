package pool

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// group is a run of an invocation's calls that one sandbox answers.
type group struct {
	lambda      *lambda // nil: the Python runtime
	first, last int     // calls [first, last)

	in    *environment // that Python runs in; nil is the host's
	wrong sandbox.Turn // what is wrong with it, unless its Outcome is empty
}

// python says that the calls are for the Python runtime.
func (g *group) python() bool { return g.lambda == nil || g.lambda.python() }

// hot says that spares of v can answer: they run in its course's environment.
func (g *group) hot(v *version) bool {
	return g.python() && (g.lambda == nil || g.lambda == v.lambda) && g.wrong.Outcome == ""
}

// groups splits an invocation where the lambda changes: usually not at all. The
// nearest lambda.json wins: question or element, then course.
func (v *version) groups(inv *jobs.Invocation) ([]group, error) {
	var gs []group
	for i, c := range inv.Calls {
		l, err := v.lambdaOf(inv, c)
		if err != nil {
			return nil, err
		}
		if n := len(gs); n > 0 && sameLambda(gs[n-1].lambda, l) {
			gs[n-1].last = i + 1
			continue
		}
		gs = append(gs, group{lambda: l, first: i, last: i + 1})
	}
	return gs, nil
}

func (v *version) lambdaOf(inv *jobs.Invocation, c jobs.Call) (*lambda, error) {
	dir, name := "questions/", c.Name
	if c.Type == jobs.Element {
		dir = "elements/"
	} else if name == "" {
		name = inv.Question
	}
	if !ValidName(name) {
		return v.lambda, nil
	}
	l, err := v.lambdaIn(dir + name)
	if err != nil || l != nil {
		return l, err
	}
	return v.lambda, nil
}

// maxLambdas bounds what one version remembers of its directories.
const maxLambdas = 4096

// lambdaIn is the lambda.json of a directory, or nil. A version never changes, so
// that the mount is asked once.
func (v *version) lambdaIn(dir string) (*lambda, error) {
	v.mu.Lock()
	l, known := v.lambdas[dir]
	v.mu.Unlock()
	if known {
		return l, nil
	}
	l, err := readLambda(v.dir, dir)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lambdas == nil || len(v.lambdas) >= maxLambdas {
		v.lambdas = map[string]*lambda{}
	}
	v.lambdas[dir] = l
	return l, nil
}

func sameLambda(a, b *lambda) bool {
	return a == nil && b == nil || a != nil && b != nil && a.dir == b.dir
}

// session runs one group's calls in one sandbox and appends their results.
func (p *Pool) session(ctx context.Context, o *opened, inv *jobs.Invocation, g group, res *jobs.Result) error {
	claim := time.Now()
	v, own, limits := o.v, o.own, p.limits(inv.Limits)
	if g.wrong.Outcome != "" {
		res.Calls = append(res.Calls, failed(g.wrong))
		return nil
	}
	if !g.python() {
		return p.serverSession(ctx, v, inv, g, own, limits, res)
	}
	see, one := p.sight(inv, limits)
	box, fresh, hot := o.takeHot(limits), false, true
	if box == nil {
		var err error
		hot = false
		box, fresh, err = p.claim(ctx, o, g.in, limits)
		if t, is := fault(err); is {
			res.Calls = append(res.Calls, failed(t))
			return nil
		}
		if err != nil {
			return err
		}
	}
	lives := false // answered every call and waits for another
	defer func() {
		collect := time.Now()
		add(&res.Usage, p.collect(box, lives))
		res.Phases.Collect += time.Since(collect)
	}()
	res.Phases.Claim += time.Since(claim)
	run := time.Now()
	defer func() { res.Phases.Run += time.Since(run) }()
	msg, err := json.Marshal(sessionRequest{
		Session: config(inv, limits),
		Calls:   inv.Calls[g.first:g.last], Data: res.Data, StopOnError: inv.StopOnError,
		Rlimits: map[string]int64{"CPU": int64((limits.CPU + time.Second - 1) / time.Second)},
	})
	if err != nil {
		return fmt.Errorf("encode the call: %w", err)
	}
	send := sandbox.Request(msg)
	if fresh { // the request may wait in the socket
		if t := box.Ready(ctx, send, readyWithin); t.Outcome != jobs.OK {
			return notReady(ctx, t)
		}
		send = nil
	}
	budget := answersPerInvocation * limits.Result
	for i := g.first; i < g.last; i++ {
		t := box.Turn(ctx, send, limits.Wall)
		send = nil
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("the call was given up: %w", err)
		}
		if t.Exited && t.Status.Exited() && t.Status.ExitStatus() == storeFailed {
			// It says that the mount failed it. It could lie, so the mount is asked.
			if err := p.sick(ctx, v, own); err != nil {
				return fmt.Errorf("read %s: %w", v.key(), err)
			}
		}
		r, _ := callResult(t, inv.Calls[i].Method)
		if budget -= int64(len(r.Data) + len(r.File)); r.HTML != nil {
			budget -= int64(len(*r.HTML))
		}
		if budget < 0 {
			r = jobs.CallResult{Outcome: jobs.OutputTooLarge, Wall: r.Wall, Message: "the answers of one invocation together are larger than its limit"}
			res.Calls = append(res.Calls, r)
			return nil
		}
		if r.Outcome == jobs.OK && len(r.Data) > 0 {
			res.Data = r.Data
		}
		res.Calls = append(res.Calls, r)
		tell(ctx, res.Calls)
		// A frame that is no answer is the last one: nothing says which call the next would be for.
		if t.Outcome != jobs.OK || r.Outcome == jobs.Killed || r.Outcome != jobs.OK && inv.StopOnError {
			return nil // Do calls the rest lost
		}
	}
	lives = true
	if !hot && one && len(own) > 0 && g.hot(v) {
		p.tender.warmTo(v, see)
	}
	return nil
}

// collect ends a sandbox and says what it used. One that lives is killed here
// and now, but nobody waits until the kernel has taken its memory and mounts apart.
func (p *Pool) collect(box *sandbox.Box, lives bool) jobs.Usage {
	if !lives {
		return box.Close()
	}
	u := box.Used()
	box.Recede()
	box.Kill()
	p.ending.Go(func() { box.Close() })
	return u
}

// readyWithin bounds the sealing of a sandbox, which is our own work.
const readyWithin = 10 * time.Second

func notReady(ctx context.Context, t sandbox.Turn) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	return fmt.Errorf("%w: %s; it wrote: %q", errProtocol, t.Message, t.Stderr)
}

// sessionRequest is what the zygote's child reads; see zygote.py.
type sessionRequest struct {
	Session     sessionConfig    `json:"session"`
	Calls       []jobs.Call      `json:"calls"`
	Data        json.RawMessage  `json:"data"`
	StopOnError bool             `json:"stop_on_error,omitempty"`
	Rlimits     map[string]int64 `json:"rlimits,omitempty"`
}

type sessionConfig struct {
	Course         string `json:"course"`
	Question       string `json:"question,omitempty"`
	CourseInstance string `json:"course_instance,omitempty"`
	Assessment     string `json:"assessment,omitempty"`
	MaxResult      int64  `json:"max_result"`
	Foresee        string `json:"foresee,omitempty"` // a question to compile before there is a call
}

// missingCodes are those that code inside can know of.
var missingCodes = map[string]bool{jobs.QuestionMissing: true, jobs.ElementMissing: true, jobs.MethodMissing: true}

// callResult reads a frame as far as it can be trusted: what is inside can lie
// about its own result and about nothing else. spent is a rehearsal's: see Rehearse.
func callResult(t sandbox.Turn, method string) (r jobs.CallResult, spent bool) {
	r = jobs.CallResult{Outcome: t.Outcome, Message: t.Message}
	if t.Outcome == jobs.OK {
		var inside struct {
			jobs.CallResult
			Spent bool `json:"spent"`
		}
		err := json.Unmarshal(t.Frame, &inside)
		switch {
		case err != nil:
			r = jobs.CallResult{Outcome: jobs.Killed, Message: "answered with something that is not a result"}
		case inside.Outcome == jobs.Missing && !missingCodes[inside.Code]:
			r = jobs.CallResult{Outcome: jobs.Killed, Message: fmt.Sprintf("answered that %q is missing", inside.Code)}
		case inside.Outcome == jobs.OK, inside.Outcome == jobs.QuestionError, inside.Outcome == jobs.Missing,
			inside.Outcome == jobs.OutputTooLarge: // the shim refused a result before it was sent
			r, spent = inside.CallResult, inside.Spent
			r.Message, r.Traceback = clip(r.Message), clip(r.Traceback)
			if r.Outcome == jobs.OK && !answers(r, method) {
				r = jobs.CallResult{Outcome: jobs.Killed, Message: "answered " + method + " with something else than its result"}
			}
		default:
			r = jobs.CallResult{Outcome: jobs.Killed, Message: fmt.Sprintf("answered with an outcome of its own, %q", inside.Outcome)}
		}
	}
	r.Output = string(t.Stdout) + string(t.Stderr)
	r.Wall = t.Wall
	return r, spent
}

func add(to *jobs.Usage, u jobs.Usage) {
	to.Wall += u.Wall
	to.CPU += u.CPU
	to.Memory = max(to.Memory, u.Memory)
}

// answersPerInvocation bounds what one invocation's answers keep in memory, in
// results of the largest allowed size.
const answersPerInvocation = 4

// maxText bounds a message and a traceback, in bytes.
const maxText = 64 << 10

func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + " [cut]"
}

// answers reports whether r holds what a call of method returns, and nothing else.
func answers(r jobs.CallResult, method string) bool {
	switch method {
	case "render":
		return r.HTML != nil && r.File == nil && len(r.Data) == 0
	case "file":
		return r.File != nil && r.HTML == nil && len(r.Data) == 0
	}
	data := bytes.TrimSpace(r.Data)
	return len(data) > 0 && data[0] == '{' && r.HTML == nil && r.File == nil
}
