package scheduler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/builder"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
	"github.com/prairielambda/prairielambda/scheduler/runs"
)

// longestPoll bounds one long poll.
const longestPoll = 30 * time.Second

// submit starts an asynchronous run. It lies with the worker that took it, so
// that any gateway can follow it and none has to stay.
func (g *Gateway) submit(x *exchange) error {
	raw, err := g.body(x)
	if err != nil {
		return err
	}
	ctx, cancel := g.deadline(x)
	defer cancel()
	id, builds, err := g.startRun(ctx, x, raw)
	if err != nil {
		return err
	}
	if builds {
		return x.accepted(id, building)
	}
	return x.sendJSON(map[string]string{"identifier": id, "message": "Pending"})
}

// startRun hands a submission to a worker and returns its task id, or that of the
// task that builds its environment.
func (g *Gateway) startRun(ctx context.Context, x *exchange, raw []byte) (id string, builds bool, err error) {
	p, environment, err := g.decodeSubmission(ctx, x, raw)
	if err != nil {
		return "", false, err
	}
	if p.Environment, id, err = g.environment(ctx, x, environment); err != nil || id != "" {
		return id, true, err
	}
	p.ID = x.id
	x.note.name, x.note.method = p.Runtime, p.Mode
	req := &jobs.RunRequest{Owner: x.note.token, Program: *p}
	if g.isLong(p) {
		id, err = g.startLong(ctx, x, req)
		return id, false, err
	}
	pl := plan{key: "run\x00" + p.Runtime, hedge: "off", only: func(w *fleet.Worker) bool { return offers(w, p.Runtime) }}
	id, err = g.startShort(ctx, x, req, pl, fleet.Request{})
	return id, false, err
}

// startShort hands a run to a worker; of to, only the course and version count.
func (g *Gateway) startShort(ctx context.Context, x *exchange, run *jobs.RunRequest, pl plan, to fleet.Request) (string, error) {
	body, err := json.Marshal(run)
	if err != nil {
		return "", fmt.Errorf("encode run: %w", err)
	}
	to.Path, to.Body, to.Header, to.ID = "/v1/runs", body, traceOf(x.r), x.id
	won, err := onFleet(ctx, g, pl, func(ctx context.Context, w *fleet.Worker) (string, error) {
		var c jobs.RunCreated
		if err := w.JSON(ctx, to, &c); err != nil {
			return "", err
		}
		id := runs.TaskID(w.Name(), c.ID)
		if _, _, ok := runs.SplitTaskID(id); !ok {
			return "", &fleet.Error{Worker: w.URL, Err: errors.New("a run without a proper id")}
		}
		return id, nil
	})
	x.note.trip = trip{worker: won.By, tries: won.Tries}
	return won.Value, err
}

// decodeSubmission reads, checks and completes a submission; what it says of its
// environment is left to who runs it.
func (g *Gateway) decodeSubmission(ctx context.Context, x *exchange, raw []byte) (p *jobs.Program, environment json.RawMessage, err error) {
	var s runs.Submission
	if err := decode(raw, &s); err != nil {
		return nil, nil, err
	}
	if p, err = s.Program(); err != nil {
		return nil, nil, refuse(http.StatusBadRequest, "bad_request", err.Error())
	}
	if err := checkProgram(p); err != nil {
		return nil, nil, err
	}
	rt, err := g.runtime(ctx, x, p.Runtime)
	if err != nil {
		return nil, nil, err
	}
	p.Runtime = runtimeID(rt)
	return p, s.Environment, nil
}

// checkOutput answers a poll in the shape that its keys ask for.
func (g *Gateway) checkOutput(x *exchange) error {
	raw, err := g.body(x)
	if err != nil {
		return err
	}
	var p runs.Poll
	if err := decode(raw, &p); err != nil {
		return err
	}
	from, ok := p.From()
	if !ok {
		return refuse(http.StatusBadRequest, "bad_request", "a position before the beginning")
	}
	wait := time.Duration(min(max(p.Wait, 0), longestPoll.Seconds()) * float64(time.Second))
	ctx, cancel := g.deadline(x)
	defer cancel()
	c, err := g.readRun(ctx, x, p.Identifier, from, wait)
	if err != nil {
		return err
	}
	return x.sendJSON(p.Answer(c))
}

// readRun asks the worker that holds a run.
func (g *Gateway) readRun(ctx context.Context, x *exchange, id string, from int, wait time.Duration) (*jobs.RunChunk, error) {
	missing := refuse(http.StatusNotFound, jobs.RunMissing, "no run has this identifier")
	run, is, ok := runs.SplitTaskID(id)
	if !ok {
		return nil, missing
	}
	if g.cfg.Long != nil && is(g.cfg.Long.Name()) {
		return g.cfg.Long.Read(ctx, run, x.note.token, from, wait)
	}
	if g.cfg.Builder != nil && is(builder.Name) {
		return g.readBuild(ctx, x, run, from, wait)
	}
	holds := func(w *fleet.Worker) bool { return is(w.Name()) }
	if found, err := g.named(ctx, is); !found {
		return nil, cmp.Or[error](err, missing)
	}
	q := url.Values{"owner": {x.note.token}, "from": {strconv.Itoa(from)}, "wait": {strconv.FormatInt(wait.Milliseconds(), 10)}}
	req := fleet.Request{Path: "/v1/runs/" + run + "?" + q.Encode(), Header: traceOf(x.r), ID: x.id}
	won, err := onFleet(ctx, g, plan{key: id, hedge: "off", only: holds}, func(ctx context.Context, w *fleet.Worker) (*jobs.RunChunk, error) {
		var c jobs.RunChunk
		return &c, w.JSON(ctx, req, &c)
	})
	x.note.trip = trip{worker: won.By, tries: won.Tries}
	return won.Value, err
}

// sendJSON answers 200 with v.
func (x *exchange) sendJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	x.send("application/json", b)
	return nil
}
