package pool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// A course's own HTTP server runs in a sandbox of its own for each session and
// listens on a unix socket inside. What it answers is bounded and never followed
// anywhere.

const (
	socketVariable = "PRAIRIE_SOCKET"
	socketPath     = "/tmp/lambda.sock"
	maxHeader      = 64 << 10
	maxMessage     = 64 << 10 // of an error page that becomes a message
)

// server is one running lambda.
type server struct {
	box    *sandbox.Box
	client *http.Client
	ended  chan sandbox.Turn // gets the one Turn that ends with the program
	cancel context.CancelFunc
	waited time.Duration // before its session
}

// startServer starts l's program and waits until it listens. An outcome other
// than OK is the course's fault, an error ours.
func (p *Pool) startServer(ctx context.Context, v *version, l *lambda, own []sandbox.Mount, limits jobs.Limits) (*server, sandbox.Turn, error) {
	fault := func(format string, args ...any) (*server, sandbox.Turn, error) {
		return nil, sandbox.Turn{Outcome: jobs.QuestionError, Message: fmt.Sprintf(format, args...)}, nil
	}
	if l.fault != "" {
		return fault("%s", l.fault)
	}
	cmd, err := p.program(v, l)
	var e *jobs.Error
	if errors.As(err, &e) {
		return fault("lambda.json: %v", e.Message)
	}
	if err != nil {
		return nil, sandbox.Turn{}, err
	}
	mounts := append(append([]sandbox.Mount{}, v.shared...), own...)
	if l.dir == "." { // the course's one program answers for all its questions
		mounts = []sandbox.Mount{{Dir: v.dir, Target: "."}}
	}
	cmd.Dir = path.Join("/course", l.dir)
	cmd.Argv = append([]string{"/usr/bin/env", "--"}, l.Command...)
	cmd.Env = append(append(append([]string{}, cmd.Env...), l.environ()...), socketVariable+"="+socketPath)
	box, err := p.cfg.Host.Exec(ctx, sandbox.Spec{Limits: limits, Mounts: mounts}, cmd)
	if err != nil {
		return nil, sandbox.Turn{}, err
	}
	run, cancel := context.WithCancel(ctx)
	s := &server{box: box, ended: make(chan sandbox.Turn, 1), cancel: cancel}
	// The session's calls each have their own wall limit; this one only bounds the whole.
	go func() { s.ended <- box.Wait(run, maxSession) }()
	s.client = &http.Client{
		Transport: &http.Transport{
			DialContext:            func(context.Context, string, string) (net.Conn, error) { return box.Dial(socketPath) },
			MaxResponseHeaderBytes: maxHeader,
			DisableCompression:     true,
			MaxIdleConnsPerHost:    1,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	deadline := time.Now().Add(limits.Wall)
	for {
		conn, err := box.Dial(socketPath)
		if err == nil {
			conn.Close()
			return s, sandbox.Turn{Outcome: jobs.OK}, nil
		}
		select {
		case t := <-s.ended:
			s.ended <- t
			s.stop(nil)
			t.Message = "the course's server ended before it listened on " + socketVariable + ": " + t.Message
			return nil, t, nil
		case <-ctx.Done():
			s.stop(nil)
			return nil, sandbox.Turn{}, fmt.Errorf("the call was given up: %w", context.Cause(ctx))
		case <-time.After(2 * time.Millisecond):
		}
		if !errors.Is(err, sandbox.ErrNotListening) {
			t := s.stop(nil)
			if t.Exited {
				return nil, t, nil
			}
			return nil, t, err
		}
		if time.Now().After(deadline) {
			t := s.stop(nil)
			t.Outcome, t.Message = jobs.Timeout, fmt.Sprintf("the course's server did not listen on %s within %v", socketVariable, limits.Wall)
			return nil, t, nil
		}
	}
}

// maxSession bounds a whole session with a course's server.
const maxSession = 10 * time.Minute

// stop ends the program and returns how it went; usage may be nil.
func (s *server) stop(usage *jobs.Usage) sandbox.Turn {
	s.cancel()
	t := <-s.ended
	s.client.CloseIdleConnections()
	u := s.box.Close()
	u.Wall -= s.waited
	if usage != nil {
		add(usage, u)
	}
	return t
}

// settle lets a program that broke off an answer be seen ending by itself, before
// our own end of it hides why.
func (s *server) settle(ctx context.Context, within time.Duration) (ended bool) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		select {
		case t := <-s.ended:
			s.ended <- t
			return true
		case <-ctx.Done():
			return false
		case <-time.After(200 * time.Millisecond):
			if !s.box.Ending() {
				return false
			}
		}
	}
}

// serverSession runs one group's calls against the course's own server.
func (p *Pool) serverSession(ctx context.Context, v *version, inv *jobs.Invocation, g group, own []sandbox.Mount, limits jobs.Limits, res *jobs.Result) error {
	limits = g.lambda.narrow(limits)
	claim := time.Now()
	see, one := p.sight(inv, p.limits(inv.Limits))
	if g.lambda.dir == "." { // it sees the whole course, whatever it is asked
		see, one = sight{}, true
	}
	key := listenerKey(v, g.lambda, &see, limits)
	var t sandbox.Turn
	s := p.listeners.take(key, v)
	if s == nil {
		var err error
		if s, t, err = p.startServer(ctx, v, g.lambda, own, limits); err != nil {
			return err
		}
	}
	if s != nil {
		defer context.AfterFunc(ctx, s.cancel)()
	}
	res.Phases.Claim += time.Since(claim)
	if s == nil {
		res.Calls = append(res.Calls, failed(t))
		return nil
	}
	run, first := time.Now(), len(res.Calls)
	s.calls(ctx, inv, g, limits, res)
	res.Phases.Run += time.Since(run)
	collect := time.Now()
	last := &res.Calls[len(res.Calls)-1]
	byItself := last.Outcome == jobs.Killed && s.settle(ctx, limits.Wall)
	t = s.stop(&res.Usage)
	res.Phases.Collect += time.Since(collect)
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("the call was given up: %w", err)
	}
	if last.Outcome == jobs.OK && one {
		p.listeners.want(key, v, g.lambda, &see, limits)
	}
	if byItself {
		last.Outcome, last.Message = t.Outcome, "the course's server ended: "+t.Message
	}
	// The program's output is one stream; nothing says which call wrote what.
	res.Calls[max(first, len(res.Calls)-1)].Output = string(t.Stdout) + string(t.Stderr)
	return nil
}

func failed(t sandbox.Turn) jobs.CallResult {
	return jobs.CallResult{Outcome: t.Outcome, Message: t.Message, Output: string(t.Stdout) + string(t.Stderr), Wall: t.Wall}
}

// calls sends a batch to the server's root; a server that has none gets its
// items one by one, in order, as does a single call.
func (s *server) calls(ctx context.Context, inv *jobs.Invocation, g group, limits jobs.Limits, res *jobs.Result) {
	if g.last-g.first > 1 {
		if done := s.batch(ctx, inv, g, limits, res); done {
			return
		}
	}
	for _, c := range inv.Calls[g.first:g.last] {
		kind, name := "element", c.Name
		if c.Type != jobs.Element {
			kind = "question"
			if name == "" {
				name = inv.Question
			}
		}
		body := map[string]any{"method": c.Method, "data": res.Data}
		if c.HTML != nil {
			body["html"] = *c.HTML
		}
		start := time.Now()
		r := s.post(ctx, "/"+kind+"/"+name, body, limits).result(kind, c.Method)
		r.Wall = time.Since(start)
		if r.Outcome == jobs.OK && len(r.Data) > 0 {
			res.Data = r.Data
		}
		res.Calls = append(res.Calls, r)
		gone := r.Outcome != jobs.OK && r.Outcome != jobs.QuestionError && r.Outcome != jobs.Missing
		if gone || r.Outcome != jobs.OK && inv.StopOnError {
			return
		}
	}
}

// answer is what a course's server said, or the outcome of its not saying it.
type answer struct {
	status  int
	kind    string // media type
	body    []byte
	outcome jobs.Outcome
	message string
}

func (s *server) post(ctx context.Context, target string, body any, limits jobs.Limits) answer {
	ctx, cancel := context.WithTimeout(ctx, limits.Wall)
	defer cancel()
	b, err := json.Marshal(body)
	if err != nil {
		return answer{outcome: jobs.QuestionError, message: err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://lambda"+escape(target), bytes.NewReader(b))
	if err != nil {
		return answer{outcome: jobs.QuestionError, message: err.Error()}
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode < 200 { // a switch of protocols: what follows is no body, and nothing would time it out
			return answer{outcome: jobs.QuestionError, message: fmt.Sprintf("the course's server answered with status %d", resp.StatusCode)}
		}
		stop := context.AfterFunc(ctx, func() { resp.Body.Close() })
		defer stop()
		b, err = io.ReadAll(io.LimitReader(resp.Body, limits.Result+1))
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return answer{outcome: jobs.Timeout, message: fmt.Sprintf("took longer than its limit of %v", limits.Wall)}
	case err != nil:
		return answer{outcome: jobs.Killed, message: "the course's server did not answer: " + err.Error()}
	case int64(len(b)) > limits.Result:
		return answer{outcome: jobs.OutputTooLarge, message: fmt.Sprintf("answered with more than its limit of %d bytes", limits.Result)}
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return answer{status: resp.StatusCode, kind: kind, body: b, outcome: jobs.OK}
}

// result reads an answer to one call.
func (a answer) result(kind, method string) jobs.CallResult {
	r := jobs.CallResult{Outcome: a.outcome, Message: a.message}
	if a.outcome != jobs.OK {
		return r
	}
	switch {
	case a.status == http.StatusNotFound:
		r.Outcome, r.Code = jobs.Missing, kind+"_missing"
		a.explain(&r)
	case a.status != http.StatusOK:
		r.Outcome, r.Message = jobs.QuestionError, fmt.Sprintf("the course's server answered with status %d", a.status)
		a.explain(&r)
	case method == "file":
		r.File = a.body
		if r.File == nil {
			r.File = []byte{}
		}
	case method == "render":
		html := string(a.body)
		r.HTML = &html
	case !json.Valid(a.body) || bytes.TrimSpace(a.body)[0] != '{':
		r.Outcome, r.Message = jobs.QuestionError, "the course's server answered with something that is no JSON object"
	default:
		r.Data = a.body
	}
	return r
}

// explain takes code, message and traceback from an error body in our own
// shape, or the whole body as the message.
func (a answer) explain(r *jobs.CallResult) {
	var e struct {
		Error jobs.Error `json:"error"`
	}
	if json.Unmarshal(a.body, &e) == nil && e.Error.Message != "" {
		r.Message, r.Traceback = e.Error.Message, e.Error.Traceback
		if c := e.Error.Code; r.Outcome == jobs.Missing && (c == jobs.MethodMissing || c == jobs.QuestionMissing || c == jobs.ElementMissing) {
			r.Code = c
		}
		return
	}
	if text := strings.TrimSpace(strings.ToValidUTF8(string(a.body[:min(len(a.body), maxMessage)]), "\uFFFD")); text != "" {
		r.Message += ": " + text
	}
}
