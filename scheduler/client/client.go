// Package client calls a gateway from Go.
//
// It guarantees that an answer is either a Result or an error, never both; that a
// refusal of the gateway is an *Error with the one shape that every refusal has;
// and that leaving (ctx) ends the work. It does not retry: the gateway already
// has, and Error says when another try may help.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
)

// Client calls one gateway. It is safe for concurrent use.
type Client struct {
	URL   string       // base URL, as in "http://127.0.0.1:7300"
	Token string       // empty where the gateway asks for none
	HTTP  *http.Client // nil means http.DefaultClient
}

// Call is one function call.
type Call struct {
	Method         string          `json:"method"`
	Data           json.RawMessage `json:"data"`
	HTML           *string         `json:"html,omitempty"`
	CourseInstance string          `json:"course_instance,omitempty"`
	Assessment     string          `json:"assessment,omitempty"`
}

// Result is a good answer: exactly one of Data, HTML and File, and what was
// printed on the way to it.
type Result struct {
	Data    json.RawMessage `json:"data"`
	HTML    *string         `json:"html"`
	File    []byte          `json:"file"`
	Output  string          `json:"output"`
	Outcome jobs.Outcome    `json:"outcome"`
	Usage   jobs.Usage      `json:"usage"`
	Version string          `json:"version"`
	ID      string          `json:"id"`
}

// Batch is several calls in one sandbox.
type Batch struct {
	Data           json.RawMessage `json:"data"`
	Question       string          `json:"question,omitempty"`
	CourseInstance string          `json:"course_instance,omitempty"`
	Assessment     string          `json:"assessment,omitempty"`
	Requests       []jobs.Call     `json:"requests"`
	OnError        string          `json:"on_error,omitempty"` // continue (the default) or stop
}

// BatchResult is the data after the last call and an answer to each.
type BatchResult struct {
	Data      json.RawMessage `json:"data"`
	Responses []struct {
		Status int             `json:"status"`
		Body   json.RawMessage `json:"body"`
		Output string          `json:"output"`
	} `json:"responses"`
}

// Error is a refusal. Its code, outcome, traceback and output are in What.
type Error struct {
	What       jobs.Error
	Status     int
	RetryAfter time.Duration // 0 when the gateway did not say
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("gateway: %d %s", e.Status, e.What.Error()) }

// maxAnswer bounds what is read of one answer.
const maxAnswer = 256 << 20

// Question calls a function of a question's server code.
func (c *Client) Question(ctx context.Context, course, version, qid string, call Call) (*Result, error) {
	return ask[Result](ctx, c, http.MethodPost, path(course, version, "question", qid), call)
}

// Element calls a function of a course element.
func (c *Client) Element(ctx context.Context, course, version, name string, call Call) (*Result, error) {
	return ask[Result](ctx, c, http.MethodPost, path(course, version, "element", name), call)
}

// Process runs a whole phase of a question.
func (c *Client) Process(ctx context.Context, course, version, qid string, call Call) (*Result, error) {
	return ask[Result](ctx, c, http.MethodPost, path(course, version, "process", qid), call)
}

// Batch runs several calls in one sandbox.
func (c *Client) Batch(ctx context.Context, course, version string, b Batch) (*BatchResult, error) {
	return ask[BatchResult](ctx, c, http.MethodPost, path(course, version), b)
}

// Run runs a program; hedge is off, auto or always.
func (c *Client) Run(ctx context.Context, p jobs.Program, hedge string) (*jobs.ProgramResult, error) {
	return ask[jobs.ProgramResult](ctx, c, http.MethodPost, "/run", struct {
		jobs.Program
		Hedge string `json:"hedge,omitempty"`
	}{p, hedge})
}

// Runtimes lists what programs may be run with.
func (c *Client) Runtimes(ctx context.Context) ([]jobs.Runtime, error) {
	r, err := ask[[]jobs.Runtime](ctx, c, http.MethodGet, "/runtimes", nil)
	if err != nil {
		return nil, err
	}
	return *r, nil
}

func path(course string, parts ...string) string {
	p := "/courses/" + url.PathEscape(course)
	for _, s := range parts {
		p += "/" + url.PathEscape(s) // a QID's slashes too: a%2Fb is a/b there
	}
	return p
}

func ask[T any](ctx context.Context, c *Client, method, path string, body any) (*T, error) {
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("gateway: encode request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/vnd.prairielambda.result+json, application/json")
	if deadline, ok := ctx.Deadline(); ok {
		req.Header.Set("Prairie-Deadline", strconv.FormatInt(max(1, time.Until(deadline).Milliseconds()), 10))
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	hc := c.HTTP
	if hc == nil {
		hc = http.DefaultClient
	}
	res, err := hc.Do(req)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("gateway: read answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, refusal(res, answer)
	}
	out := new(T)
	if err := json.Unmarshal(answer, out); err != nil {
		return nil, fmt.Errorf("gateway: decode answer: %w", err)
	}
	return out, nil
}

func refusal(res *http.Response, answer []byte) *Error {
	var shape struct{ Error jobs.Error }
	if json.Unmarshal(answer, &shape) != nil || shape.Error.Code == "" {
		shape.Error = jobs.Error{Code: "unknown", Message: res.Status} // not a gateway's answer: a proxy's, perhaps
	}
	e := &Error{What: shape.Error, Status: res.StatusCode}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}
