package pool

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
)

// batch offers the whole group to the server's root, as the RFC has it. It
// reports false when the server has no such route (404), and nothing was done.
func (s *server) batch(ctx context.Context, inv *jobs.Invocation, g group, limits jobs.Limits, res *jobs.Result) bool {
	calls := inv.Calls[g.first:g.last]
	onError := "continue"
	if inv.StopOnError {
		onError = "stop"
	}
	start := time.Now()
	a := s.post(ctx, "/", map[string]any{
		"data": res.Data, "question": inv.Question, "requests": calls, "on_error": onError,
	}, limits)
	if a.outcome == jobs.OK && a.status == http.StatusNotFound {
		return false
	}
	var got struct {
		Data      json.RawMessage `json:"data"`
		Responses []struct {
			Status int             `json:"status"`
			Body   json.RawMessage `json:"body"`
			Output string          `json:"output"`
		} `json:"responses"`
	}
	first := jobs.CallResult{Outcome: a.outcome, Message: a.message, Wall: time.Since(start)}
	switch {
	case a.outcome != jobs.OK:
	case a.status != http.StatusOK:
		first = a.result("question", "")
	case json.Unmarshal(a.body, &got) != nil || len(got.Responses) == 0 || len(got.Responses) > len(calls) || !isObject(got.Data):
		first.Outcome, first.Message = jobs.QuestionError, `the course's server answered a batch with something other than {"data","responses"}`
	default:
		for i, r := range got.Responses {
			kind := "question"
			if calls[i].Type == jobs.Element {
				kind = "element"
			}
			item := answer{status: r.Status, body: plain(r.Body, calls[i].Method), outcome: jobs.OK}.result(kind, calls[i].Method)
			item.Output = r.Output
			res.Calls = append(res.Calls, item)
		}
		res.Data = got.Data
		return true
	}
	res.Calls = append(res.Calls, first)
	return true
}

func isObject(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) > 0 && raw[0] == '{'
}

// plain turns a JSON string into its text where the body is one: the HTML of a render.
func plain(body json.RawMessage, method string) []byte {
	var s string
	if (method == "render" || method == "file") && json.Unmarshal(body, &s) == nil {
		return []byte(s)
	}
	return body
}

// escape makes a path fit for a request line.
func escape(path string) string { return (&url.URL{Path: path}).EscapedPath() }
