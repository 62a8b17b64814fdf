package scheduler

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
)

// streamBatch answers a batch item by item, as they finish. Until the first one
// is sent, another worker can take over; after that a lost worker is a last line
// {"error"}, because a second process would have other random numbers.
func (g *Gateway) streamBatch(ctx context.Context, x *exchange, inv *jobs.Invocation) error {
	label, err := g.resolve(ctx, x, inv.Course, inv.Version)
	if err != nil {
		return err
	}
	inv.ID, inv.Version, inv.Limits = x.id, label, g.cfg.Limits
	x.w.Header().Set("Prairie-Version", label)
	x.note.version, x.note.outcome = label, string(jobs.OK)
	body, err := encode(inv)
	if err != nil {
		return fmt.Errorf("encode invocation: %w", err)
	}
	leave, err := g.enter(ctx, inv.Course)
	if err != nil {
		return err
	}
	defer leave()
	header := traceOf(x.r)
	header.Set("Accept", typeLines)
	req := fleet.Request{Path: "/v1/invoke", Body: body, Header: header, Course: inv.Course, Version: label, ID: x.id}
	sent := 0
	won, err := onFleet(ctx, g, plan{key: routeKey(inv.Course, label)}, func(ctx context.Context, w *fleet.Worker) (*jobs.Result, error) {
		res, err := g.readStream(ctx, w, req, inv, func(c *jobs.CallResult) error {
			item, err := itemOf(c, x.id)
			if err != nil {
				return err
			}
			if item.Status != http.StatusOK {
				x.note.outcome = string(c.Outcome)
			}
			sent++
			return x.line(item)
		})
		if err != nil && sent > 0 {
			err = &halfWay{err}
		}
		return res, g.lagging(err, inv.Course, label)
	})
	x.note.trip = trip{worker: won.By, tries: won.Tries}
	switch {
	case err != nil && sent == 0:
		return err
	case err != nil:
		var half *halfWay
		if errors.As(err, &half) {
			err = half.cause
		}
		f := faultOf(err)
		f.body.Retryable = true
		x.note.outcome, x.note.cause = f.body.Code, f.cause
		return x.line(json.RawMessage(f.shape(x.id)))
	}
	g.metrics.phases(0, won.Value)
	data := won.Value.Data
	if data == nil {
		data = inv.Data
	}
	return x.line(lastLine{data})
}

// halfWay is a failure after something was answered. It unwraps to nothing, so
// that nobody takes it for one that another worker may mend.
type halfWay struct{ cause error }

func (h *halfWay) Error() string { return "half way: " + h.cause.Error() }

// readStream reads an invocation's answer line by line and holds the worker to
// its contract.
func (g *Gateway) readStream(ctx context.Context, w *fleet.Worker, req fleet.Request, inv *jobs.Invocation, each func(*jobs.CallResult) error) (*jobs.Result, error) {
	res, err := w.Send(ctx, req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	broken := func(err error) error { return &fleet.Error{Worker: w.URL, Err: err} }
	most := g.cfg.MaxAnswer
	if most <= 0 {
		most = 256 << 20
	}
	r := bufio.NewReader(io.LimitReader(res.Body, most))
	for n := 0; ; {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return nil, broken(fmt.Errorf("the answer ends without a result: %w", err))
		}
		p, err := progressOf(line, n, inv)
		switch {
		case err != nil:
			return nil, broken(err)
		case p.Error != nil:
			return nil, &fleet.Error{Worker: w.URL, Status: http.StatusInternalServerError, Answer: p.Error}
		case p.Result != nil:
			_, err = io.Copy(io.Discard, r) // to its end, so that the connection can be used again
			return p.Result, err
		}
		n++
		if err := each(p.Call); err != nil {
			return nil, err
		}
	}
}

// progressOf reads one line of a worker after n calls' results.
func progressOf(line []byte, n int, inv *jobs.Invocation) (p jobs.Progress, err error) {
	if err := json.Unmarshal(line, &p); err != nil {
		return p, fmt.Errorf("read line: %w", err)
	}
	switch {
	case p.Error != nil:
	case p.Result != nil:
		if n != len(inv.Calls) || p.Result.Version != inv.Version {
			return p, fmt.Errorf("%d answers to %d calls, of version %s", n, len(inv.Calls), p.Result.Version)
		}
	case p.Call == nil || n >= len(inv.Calls):
		return p, errors.New("a line that is no result")
	default:
		if what := brokenCall(p.Call); what != "" {
			return p, errors.New(what)
		}
	}
	return p, nil
}
