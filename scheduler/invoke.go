package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
	"github.com/prairielambda/prairielambda/scheduler/hedge"
)

// maxTries bounds the executions of one call, whatever the size of the fleet.
const maxTries = 3

// invoke resolves the version and answers inv from the render cache or the fleet.
func (g *Gateway) invoke(ctx context.Context, x *exchange, inv *jobs.Invocation) (*jobs.Result, error) {
	label, err := g.resolve(ctx, x, inv.Course, inv.Version)
	if err != nil {
		return nil, err
	}
	inv.ID, inv.Version, inv.Limits = x.id, label, g.cfg.Limits
	x.w.Header().Set("Prairie-Version", label)
	x.note.version = label
	if key, runtime, ok := g.cacheKey(ctx, x, inv); ok {
		return g.cached(ctx, x, inv, key, runtime)
	}
	t, err := g.execute(ctx, inv, traceOf(x.r))
	x.note.trip = t
	return t.res, err
}

// trip is what became of one execution, and how it got there.
type trip struct {
	res    *jobs.Result
	worker *fleet.Worker
	tries  int
	hedged bool
	queue  time.Duration
}

// execute waits for a place and runs inv on the fleet.
func (g *Gateway) execute(ctx context.Context, inv *jobs.Invocation, trace http.Header) (t trip, err error) {
	body, err := encode(inv)
	if err != nil {
		return t, fmt.Errorf("encode invocation: %w", err)
	}
	begin := time.Now()
	leave, err := g.enter(ctx, inv.Course)
	t.queue = time.Since(begin)
	if err != nil {
		return t, err
	}
	defer leave()
	req := fleet.Request{
		Path: "/v1/invoke", Body: body, Header: trace,
		Course: inv.Course, Version: inv.Version, ID: inv.ID,
	}
	won, err := onFleet(ctx, g, plan{key: routeKey(inv.Course, inv.Version), class: classOf(inv)}, func(ctx context.Context, w *fleet.Worker) (*jobs.Result, error) {
		res, err := callWorker(ctx, w, req, inv)
		return res, g.lagging(err, inv.Course, inv.Version)
	})
	t.res, t.worker, t.tries, t.hedged = won.Value, won.By, won.Tries, won.Hedged
	if err != nil {
		return t, err
	}
	g.metrics.phases(t.queue, t.res)
	return t, nil
}

// encode is json.Marshal, but passes the data on as it came: it was checked, may
// be large, and its way of writing numbers is part of what it says.
func encode(inv *jobs.Invocation) ([]byte, error) {
	head, err := json.Marshal(struct {
		*jobs.Invocation
		Data struct{} `json:"data,omitzero"` // hides the real one
	}{Invocation: inv})
	if err != nil {
		return nil, err
	}
	const key = `,"data":`
	b := make([]byte, 0, len(head)+len(key)+len(inv.Data))
	b = append(append(b, head[:len(head)-1]...), key...)
	return append(append(b, inv.Data...), '}'), nil
}

// lagging turns "no such version" of a worker into a failure of ours when another
// worker has shown us that version: a push reaches the workers one after another,
// and no call fails for that.
func (g *Gateway) lagging(err error, course, version string) error {
	var we *fleet.Error
	if errors.As(err, &we) && we.Answer != nil && we.Answer.Code == jobs.VersionMissing && g.versions.get(course, version) != nil {
		return &fleet.Error{Worker: we.Worker, Err: errors.New("has not seen version " + version + " yet")}
	}
	return err
}

// routeKey is what a worker keeps warm sandboxes for.
func routeKey(course, version string) string { return course + "\x00" + version }

// callWorker runs an invocation at one worker and holds the worker to its
// contract: as many answers as calls, of this version, each with its content.
func callWorker(ctx context.Context, w *fleet.Worker, req fleet.Request, inv *jobs.Invocation) (*jobs.Result, error) {
	var res jobs.Result
	if err := w.JSON(ctx, req, &res); err != nil {
		return nil, err
	}
	broken := func(what string) error {
		return &fleet.Error{Worker: w.URL, Err: errors.New(what)}
	}
	if len(res.Calls) != len(inv.Calls) {
		return nil, broken(fmt.Sprintf("%d answers to %d calls", len(res.Calls), len(inv.Calls)))
	}
	if res.Version != inv.Version {
		return nil, broken("ran version " + res.Version + " instead of " + inv.Version)
	}
	for i := range res.Calls {
		if what := brokenCall(&res.Calls[i]); what != "" {
			return nil, broken(what)
		}
	}
	return &res, nil
}

// brokenCall says what a worker's answer to one call lacks.
func brokenCall(c *jobs.CallResult) string {
	switch {
	case c.Outcome == jobs.OK && c.Data == nil && c.HTML == nil && c.File == nil:
		return "a result without content"
	case c.Outcome == "" || c.Outcome == jobs.Missing && c.Code == "":
		return "an answer without an outcome"
	}
	return ""
}

// plan is where a piece of work may run.
type plan struct {
	key   string                   // what workers keep warm sandboxes for
	class string                   // of latency; "" is never hedged
	hedge string                   // off, auto or always; "" is auto
	only  func(*fleet.Worker) bool // nil takes every worker
}

// candidates are at most n workers to try, in order. One that is alone is tried
// twice: after a restart it deserves that.
func (g *Gateway) candidates(p plan, n int) (order []*fleet.Worker, alone bool) {
	order = g.fleet.Order(p.key)
	if p.only != nil {
		order = slices.DeleteFunc(order, func(w *fleet.Worker) bool { return !p.only(w) })
	}
	if alone = len(order) == 1; alone {
		order = append(order, order[0])
	}
	return order[:min(len(order), n)], alone
}

// onFleet runs ask on the workers of p's order until one of them does its job:
// the next one after a failure of ours, a second one beside a slow one while the
// budget lasts. When nobody is left it waits until somebody is back. All of that
// is invisible to course code, which runs in sandboxes that leave nothing behind.
func onFleet[T any](ctx context.Context, g *Gateway, p plan, ask func(context.Context, *fleet.Worker) (T, error)) (won hedge.Won[*fleet.Worker, T], err error) {
	var begun atomic.Int32 // attempts that a worker may have begun
	counted := func(ctx context.Context, w *fleet.Worker) (T, error) {
		v, err := ask(ctx, w)
		if we := (*fleet.Error)(nil); !errors.As(err, &we) || we.Begun() {
			begun.Add(1)
		}
		return v, err
	}
	g.budget.Earn()
	var wait context.Context // nil until there was nobody
	for tries := 0; ; {
		before := begun.Load()
		won, err = oneRound(ctx, g, p, maxTries-int(before), counted)
		tries += won.Tries
		won.Tries = tries
		if !systemFailure(err) && !errors.Is(err, hedge.ErrNobody) || begun.Load() >= maxTries || begun.Load() > before && g.fleet.Any(p.only) {
			break
		}
		if wait == nil {
			var cancel context.CancelFunc
			wait, cancel = g.patience(ctx)
			defer cancel()
		}
		if e := g.await(wait, p.only); e != nil {
			if !errors.Is(e, hedge.ErrNobody) { // else the last attempt says more
				err = e
			}
			break
		}
	}
	if won.Tries > 1 && !won.Hedged {
		g.metrics.retries.Add(float64(won.Tries - 1))
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // the caller left or its time is over: nobody else's fault
	}
	return won, err
}

// oneRound goes through p's order once.
func oneRound[T any](ctx context.Context, g *Gateway, p plan, n int, ask func(context.Context, *fleet.Worker) (T, error)) (hedge.Won[*fleet.Worker, T], error) {
	order, alone := g.candidates(p, n)
	race := hedge.Race[*fleet.Worker, T]{
		Candidates: order, Run: ask, Again: systemFailure, Owner: &g.attempts,
		Allow: g.allowHedge, Both: p.hedge == "always",
	}
	if p95, ok := g.latency.P95(p.class); ok && !race.Both && p.hedge != "off" && !alone && len(order) > 1 && order[1].Up() && g.cfg.HedgeShare > 0 {
		race.After = max(p95, time.Millisecond)
	}
	if alone && !race.Both {
		again := false // attempts at one worker follow each other: no lock
		race.Run = func(ctx context.Context, w *fleet.Worker) (T, error) {
			if again {
				pause(ctx, 50*time.Millisecond)
			}
			again = true
			return ask(ctx, w)
		}
	}
	begin := time.Now()
	won, err := race.Do(ctx)
	if err == nil && p.class != "" {
		g.latency.Record(p.class, time.Since(begin))
	}
	return won, err
}

func (g *Gateway) allowHedge() bool {
	ok := g.budget.Spend()
	if ok {
		g.metrics.hedges.Inc()
	}
	return ok
}

// systemFailure reports whether another worker may do better.
func systemFailure(err error) bool {
	var we *fleet.Error
	return errors.As(err, &we) && we.System()
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// classOf groups calls that take alike.
func classOf(inv *jobs.Invocation) string {
	if len(inv.Calls) != 1 {
		return "" // batches differ too much from each other to be hedged
	}
	c := inv.Calls[0]
	return inv.Course + "\x00" + inv.Version + "\x00" + string(c.Type) + "\x00" + c.Name + "\x00" + c.Method
}

// traceOf are the headers of a distributed trace, passed on as they came.
func traceOf(r *http.Request) http.Header {
	h := http.Header{}
	for _, k := range []string{"Traceparent", "Tracestate"} {
		if v := r.Header.Get(k); v != "" && len(v) <= 512 {
			h.Set(k, v)
		}
	}
	return h
}
