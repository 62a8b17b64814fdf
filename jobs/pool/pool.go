// Package pool answers invocations: each in a fresh sandbox, taken from warm
// spares where there are any.
//
// It guarantees that a sandbox serves one invocation and is thrown away, that
// the outcomes of course code are data in the Result, and that an error is
// always ours (or says that the course or version is not there). It refuses
// more work at once than it was configured for: callers wait, bounded by their
// context.
package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/prairielambda/prairielambda/jobs"
	lambdaruntime "github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// Config is a Pool's configuration. Host, Courses and Python are required.
type Config struct {
	Host    *sandbox.Host
	Courses *Courses
	Python  sandbox.ZygoteConfig
	Program func(name string) (sandbox.Command, error) // root and environment of a runtime that starts programs

	// Languages are what Run knows; nil for none. They come from LoadLanguages of
	// package runtime.
	Languages *lambdaruntime.Languages

	Default jobs.Limits // what an invocation without limits gets; see DefaultLimits
	Max     jobs.Limits // what an invocation can ask for at most; Default where zero
	Running int         // invocations at once; 4 for each core when 0
	// SpareMemory bounds what all spares together hold for themselves; 1 GiB when 0.
	SpareMemory int64
	SparesEach  int // spares of each version in use, however rarely it is asked; 1 when 0
	Spares      int // warm sandboxes kept at most; half the Host's slots when 0, none when negative
	// GraderNetwork is how a grader whose question asks for networking reaches
	// others, DialPublic as a rule; nil gives graders no network.
	GraderNetwork func(ctx context.Context, network, address string) (net.Conn, error)
	Log           zerolog.Logger
}

// DefaultLimits are PrairieLearn's, and what it leaves open.
var DefaultLimits = jobs.Limits{
	Wall: 10 * time.Second, CPU: 10 * time.Second, Memory: 512 << 20, Processes: 64,
	Output: 256 << 10, Result: 16 << 20, Files: 64 << 20,
}

// Pool is safe for concurrent use.
type Pool struct {
	cfg     Config
	running chan struct{}
	python  *keeper
	envs    *runtimes // the interpreters of environments
	doors   *doors
	tender  *tender

	listeners *listeners
	aheads    *aheads
	life      *life

	ending sync.WaitGroup // sandboxes that were killed and are being reaped

	claimed, forked atomic.Int64
	hot             atomic.Int64 // of claimed, those that had their question mounted
}

// New starts the runtime's zygote and keeps spares from then on, until Close.
func New(ctx context.Context, cfg Config) (*Pool, error) {
	total, _, _ := cfg.Host.Slots()
	if cfg.Running == 0 {
		cfg.Running = min(4*runtime.GOMAXPROCS(0), max(total/2, 1))
	}
	if cfg.Spares == 0 {
		cfg.Spares = total / 2
	}
	if cfg.SpareMemory == 0 {
		cfg.SpareMemory = 1 << 30
	}
	cfg.Spares = min(cfg.Spares, total-cfg.Running) // a running call never waits for a spare's slot
	cfg.Default = fill(cfg.Default, DefaultLimits)
	cfg.Max = fill(cfg.Max, cfg.Default)
	p := &Pool{
		cfg: cfg, running: make(chan struct{}, cfg.Running), life: newLife(),
		doors: &doors{most: cfg.Running, open: map[string]*door{}},
	}
	var err error
	if p.python, err = newKeeper(ctx, cfg.Host, cfg.Python, cfg.Log); err != nil {
		return nil, err
	}
	p.envs = newRuntimes(p)
	p.listeners = newListeners(p)
	p.aheads = newAheads(p)
	p.tender = newTender(p, max(cfg.Spares, 0))
	return p, nil
}

// Close ends what still runs (its callers get ErrClosed), the spares and the zygote.
func (p *Pool) Close() {
	p.life.close()
	p.tender.close()
	p.listeners.close()
	p.aheads.close()
	p.envs.close()
	p.python.close()
	p.ending.Wait()
}

// Busy is how many invocations run now, of how many at most.
func (p *Pool) Busy() (now, most int) { return len(p.running), cap(p.running) }

// Do runs one invocation. The error is a *jobs.Error where the course or version
// is missing or the invocation is malformed, and otherwise means that we failed.
func (p *Pool) Do(ctx context.Context, inv *jobs.Invocation) (*jobs.Result, error) {
	if err := check(inv); err != nil {
		return nil, err
	}
	ctx, leave, err := p.life.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	res, err := p.do(ctx, inv)
	if isStale(err) {
		p.cfg.Courses.reopen()
		res, err = p.do(ctx, inv) // nothing of the first try was answered
	}
	return res, err
}

func (p *Pool) do(ctx context.Context, inv *jobs.Invocation) (*jobs.Result, error) {
	start := time.Now()
	o, err := p.open(ctx, inv, true)
	if err != nil {
		return nil, err
	}
	defer o.close()
	found := time.Now()
	leave, err := p.place(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	res := &jobs.Result{
		ID: inv.ID, Version: o.v.name, Data: inv.Data, Tier: string(p.cfg.Host.Tier()),
		Phases: jobs.Phases{Queue: time.Since(found), Claim: found.Sub(start)},
	}
	for _, g := range o.groups {
		if ended(inv, res) {
			break
		}
		if err := p.session(ctx, o, inv, g, res); err != nil {
			return nil, err
		}
	}
	for len(res.Calls) < len(inv.Calls) {
		res.Calls = append(res.Calls, jobs.CallResult{Outcome: jobs.SessionLost, Message: "an earlier call ended the session"})
	}
	return res, nil
}

// place waits for a place to run; leave must follow.
func (p *Pool) place(ctx context.Context) (leave func(), err error) {
	select {
	case p.running <- struct{}{}:
		return func() { <-p.running }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a place to run: %w", context.Cause(ctx))
	}
}

// ended reports whether the last call so far was the session's last.
func ended(inv *jobs.Invocation, res *jobs.Result) bool {
	if len(res.Calls) == 0 {
		return false
	}
	switch res.Calls[len(res.Calls)-1].Outcome {
	case jobs.OK:
		return false
	case jobs.QuestionError, jobs.Missing:
		return inv.StopOnError
	}
	return true // it took the sandbox with it
}

// Claims says how many sandboxes of the Python runtime came from spares and how
// many were forked on demand, and how many spares wait now that any call of their
// version can have: those of hot questions are not among them.
func (p *Pool) Claims() (spares, forks int64, waiting int) {
	return p.claimed.Load(), p.forked.Load(), int(p.tender.waiting.Load())
}

// Hot is how many spares wait for calls of one kind: those of hot questions, and
// courses' own servers that listen.
func (p *Pool) Hot() int { return int(p.tender.hot.Load()) + p.listeners.count() }

// limits are what an invocation gets: what it asks for, within what is allowed.
func (p *Pool) limits(ask jobs.Limits) jobs.Limits {
	l, m := fill(ask, p.cfg.Default), p.cfg.Max
	return jobs.Limits{
		Wall: min(l.Wall, m.Wall), CPU: min(l.CPU, m.CPU), Memory: min(l.Memory, m.Memory),
		Processes: min(l.Processes, m.Processes), Output: min(l.Output, m.Output),
		Result: min(l.Result, m.Result), Files: min(l.Files, m.Files),
	}
}

func fill(l, def jobs.Limits) jobs.Limits {
	or(&l.Wall, def.Wall)
	or(&l.CPU, def.CPU)
	or(&l.Memory, def.Memory)
	or(&l.Processes, def.Processes)
	or(&l.Output, def.Output)
	or(&l.Result, def.Result)
	or(&l.Files, def.Files)
	return l
}

func or[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s, math.MaxInt64/2/float64(time.Second)) * float64(time.Second))
}

// maxQuestions bounds the mounts of one sandbox.
const maxQuestions = 200

// check refuses what no sandbox need be asked.
func check(inv *jobs.Invocation) error {
	bad := func(format string, args ...any) error {
		return &jobs.Error{Code: "bad_request", Message: fmt.Sprintf(format, args...)}
	}
	if len(inv.Calls) == 0 {
		return bad("the invocation has no calls")
	}
	if !json.Valid(inv.Data) {
		return bad("data is not JSON")
	}
	if n := len(questions(inv)); n > maxQuestions {
		return bad("the invocation names %d questions, more than %d", n, maxQuestions)
	}
	for i, c := range inv.Calls {
		switch c.Type {
		case jobs.Question, jobs.Phase:
			if c.Name == "" && inv.Question == "" {
				return bad("call %d names no question", i)
			}
		case jobs.Element:
			if c.Name == "" {
				return bad("call %d names no element", i)
			}
		default:
			return bad("call %d has type %q; use question, element or phase", i, c.Type)
		}
		if c.Method == "" {
			return bad("call %d has no method", i)
		}
	}
	return nil
}

// errProtocol is a sandbox that did not get ready: our fault, not the course's.
var errProtocol = errors.New("the sandbox did not get ready")

// Slots says how the Host's sandbox slots are used; see sandbox.Host.Slots.
func (p *Pool) Slots() (total, free, quarantined int) { return p.cfg.Host.Slots() }
