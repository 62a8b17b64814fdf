package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/prairielambda/prairielambda/jobs"
)

// rehearsal is a question.Runner that runs the phases of one question one after
// another in one sandbox, where they run many times faster than each in its own.
// It begins another where one has ended. One goroutine uses it.
type rehearsal struct {
	*client
	conn *websocket.Conn
}

// maxAnswer is more than any result that a worker lets through.
const maxAnswer = 64 << 20

// Invoke implements question.Runner.
func (r *rehearsal) Invoke(ctx context.Context, inv *jobs.Invocation) (*jobs.Result, error) {
	if len(inv.Calls) != 1 {
		return nil, fmt.Errorf("rehearse %s: %d calls at once", inv.Question, len(inv.Calls))
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	for try := 0; ; try++ {
		old := r.conn != nil
		res, err := r.ask(ctx, inv)
		if err == nil {
			return res, nil
		}
		r.close()
		if !old || try > 0 || ctx.Err() != nil { // an old one may have ended between two phases
			return nil, fmt.Errorf("ask the worker: %w", err)
		}
	}
}

func (r *rehearsal) ask(ctx context.Context, inv *jobs.Invocation) (*jobs.Result, error) {
	if r.conn == nil {
		if err := r.open(ctx, inv); err != nil {
			return nil, err
		}
	}
	line, err := json.Marshal(map[string]any{"call": inv.Calls[0], "data": inv.Data})
	if err != nil {
		return nil, err
	}
	if err := r.conn.Write(ctx, websocket.MessageText, line); err != nil {
		return nil, err
	}
	_, line, err = r.conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	var res jobs.Result
	if err := json.Unmarshal(line, &res); err != nil {
		return nil, err
	}
	if len(res.Calls) != 1 {
		return nil, fmt.Errorf("%d answers to one call", len(res.Calls))
	}
	return &res, nil
}

func (r *rehearsal) open(ctx context.Context, inv *jobs.Invocation) error {
	auth, err := r.sign(inv.Course, inv.Version, time.Now().Add(longest))
	if err != nil {
		return err
	}
	query := url.Values{"course": {inv.Course}, "version": {inv.Version}, "question": {inv.Question}, "rehearse": {"1"}}
	conn, resp, err := websocket.Dial(ctx, strings.Replace(r.url, "http", "ws", 1)+"/v1/session?"+query.Encode(), &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {auth}}, HTTPClient: r.http,
	})
	if err != nil {
		if resp == nil || resp.Body == nil {
			return err
		}
		defer resp.Body.Close()
		var fail struct {
			Error *jobs.Error `json:"error"`
		}
		if json.NewDecoder(resp.Body).Decode(&fail) == nil && fail.Error != nil {
			return fail.Error
		}
		return errors.New("it answered " + resp.Status)
	}
	conn.SetReadLimit(maxAnswer)
	r.conn = conn
	return nil
}

// close ends the sandbox.
func (r *rehearsal) close() {
	if r.conn != nil {
		_ = r.conn.CloseNow()
		r.conn = nil
	}
}
