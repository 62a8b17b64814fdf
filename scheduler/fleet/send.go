package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/prairielambda/prairielambda/jobs"
)

// ErrTooLarge is an answer that is larger than Config.MaxAnswer. Asking another
// worker would end alike.
var ErrTooLarge = errors.New("the answer is too large")

// Request is one request to a worker.
type Request struct {
	Method  string // default GET, or POST with a Body
	Path    string // below the worker's URL, escaped, with its query
	Body    []byte
	Header  http.Header // more headers, may be nil
	Course  string      // what the ticket is for; may be empty
	Version string
	ID      string // Prairie-Id
}

// Error is a worker's failure to do its job, or its refusal of the request.
type Error struct {
	Worker string
	Status int         // HTTP status, 0 when there was no answer
	Answer *jobs.Error // what the worker said, may be nil
	Err    error       // what happened, when there was no answer

	RetryAfter time.Duration // of a busy worker
}

// Error names the worker and what became of the request.
func (e *Error) Error() string {
	switch {
	case e.Answer != nil:
		return fmt.Sprintf("worker %s: %d %v", e.Worker, e.Status, e.Answer)
	case e.Err != nil:
		return fmt.Sprintf("worker %s: %v", e.Worker, e.Err)
	}
	return fmt.Sprintf("worker %s: status %d", e.Worker, e.Status)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Busy reports that the worker had no room.
func (e *Error) Busy() bool {
	return e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable
}

// Begun reports that the worker may have begun what it was asked for: it was
// reached and did not say that it takes nothing new.
func (e *Error) Begun() bool {
	var op *net.OpError
	return !e.draining() && (e.Status != 0 || !errors.As(e.Err, &op) || op.Op != "dial")
}

func (e *Error) draining() bool { return e.Answer != nil && e.Answer.Code == "draining" }

// System reports that it is our fault and that another worker may do better.
func (e *Error) System() bool {
	return e.Status == 0 && !errors.Is(e.Err, ErrTooLarge) || e.Status >= 500 || e.Status == http.StatusTooManyRequests ||
		e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
}

// Send sends r and returns the answer with status below 300 (or 304, 416: the
// answers of conditional and range requests), else an *Error. The deadline of
// ctx goes with the request. Closing the answer's body, or the end of ctx, tells
// the worker that nobody waits any more. When the worker goes down first, reads
// fail with ErrDown.
func (w *Worker) Send(ctx context.Context, r Request) (*http.Response, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Minute)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(w.alive(), func() { cancel(ErrDown) })
	w.inflight.Add(1)
	ctx, end := w.span(ctx, r)
	done := func() { stop(); cancel(context.Canceled); w.inflight.Add(-1); end() }

	req, err := w.request(ctx, r, deadline)
	if err != nil {
		done()
		return nil, err
	}
	res, err := w.fleet.cfg.Transport.RoundTrip(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		} else {
			w.suspect() // refused, reset or unreachable
		}
		done()
		return nil, &Error{Worker: w.URL, Err: err}
	}
	res.Body = &body{ReadCloser: res.Body, ctx: ctx, done: done}
	if res.StatusCode < 300 || res.StatusCode == http.StatusNotModified || res.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return res, nil
	}
	defer res.Body.Close()
	return nil, w.refusal(res)
}

func (w *Worker) request(ctx context.Context, r Request, deadline time.Time) (*http.Request, error) {
	if r.Method == "" {
		r.Method = http.MethodGet
		if r.Body != nil {
			r.Method = http.MethodPost
		}
	}
	var b io.Reader
	if r.Body != nil {
		b = bytes.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, w.URL+r.Path, b)
	if err != nil {
		return nil, fmt.Errorf("worker %s: %w", w.URL, err)
	}
	for k, vs := range r.Header {
		req.Header[k] = vs
	}
	if r.Body != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.ID != "" {
		req.Header.Set("Prairie-Id", r.ID)
	}
	req.Header.Set("Prairie-Deadline", strconv.FormatInt(max(time.Until(deadline).Milliseconds(), 1), 10))
	if w.fleet.cfg.Tracer != nil {
		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header))
	}
	if w.fleet.cfg.Sign != nil {
		auth, err := w.fleet.cfg.Sign(r.Course, r.Version, deadline)
		if err != nil {
			return nil, fmt.Errorf("worker %s: %w", w.URL, err)
		}
		req.Header.Set("Authorization", auth)
	}
	return req, nil
}

// span draws one request, as a part of what ctx belongs to.
func (w *Worker) span(ctx context.Context, r Request) (context.Context, func()) {
	if w.fleet.cfg.Tracer == nil {
		return ctx, func() {}
	}
	path, _, _ := strings.Cut(r.Path, "?")
	ctx, span := w.fleet.cfg.Tracer.Start(ctx, "ask worker", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("server.address", w.URL), attribute.String("url.path", path)))
	return ctx, func() { span.End() }
}

func (w *Worker) refusal(res *http.Response) *Error {
	e := &Error{Worker: w.URL, Status: res.StatusCode}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s >= 0 && s < 3600 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return e
	}
	var shape struct {
		Error *jobs.Error `json:"error"`
	}
	if json.Unmarshal(b, &shape) == nil {
		e.Answer = shape.Error
	}
	if e.draining() {
		w.suspect()
	}
	return e
}

// JSON sends r and decodes its answer into out.
func (w *Worker) JSON(ctx context.Context, r Request, out any) error {
	res, err := w.Send(ctx, r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := readAll(res, w.fleet.cfg.MaxAnswer)
	if err != nil {
		return &Error{Worker: w.URL, Err: err}
	}
	if err := json.Unmarshal(b, out); err != nil {
		return &Error{Worker: w.URL, Err: fmt.Errorf("answer to %s: %w", r.Path, err)}
	}
	return nil
}

func readAll(res *http.Response, most int64) ([]byte, error) {
	var b bytes.Buffer
	if n := res.ContentLength; n > most {
		return nil, ErrTooLarge
	} else if n > 0 {
		b.Grow(int(n) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(res.Body, most+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > most {
		return nil, ErrTooLarge
	}
	return b.Bytes(), nil
}

// body names the true cause of a broken read, and gives the worker's slot back when closed.
type body struct {
	io.ReadCloser
	ctx  context.Context
	done func()
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	if b.done != nil {
		b.done()
		b.done = nil
	}
	return err
}
