package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/admit"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
	"github.com/prairielambda/prairielambda/scheduler/hedge"
)

// statusGone is what the log says of callers that left; nobody receives it.
const statusGone = 499

// fault is an answer that is not a success.
type fault struct {
	status     int
	retryAfter time.Duration
	header     http.Header
	body       jobs.Error
	cause      error // for the log only
}

func (f *fault) Error() string { return f.body.Error() }
func (f *fault) Unwrap() error { return f.cause }

// refuse is a fault of the caller.
func refuse(status int, code, message string) *fault {
	return &fault{status: status, body: jobs.Error{Code: code, Message: message}}
}

// faultOf maps every error that a handler can return to an answer. It is the
// only place that does.
func faultOf(err error) *fault {
	var f *fault
	var full *admit.Full
	var we *fleet.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &full):
		f = refuse(http.StatusTooManyRequests, "busy", full.Error())
		f.retryAfter, f.body.Retryable = full.RetryAfter, true
	case errors.As(err, &tooLarge):
		f = refuse(http.StatusRequestEntityTooLarge, "too_large", "the body is larger than "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes")
	case errors.Is(err, context.DeadlineExceeded):
		f = refuse(http.StatusGatewayTimeout, "deadline_exceeded", "the call did not end before its deadline")
		f.body.Retryable = true
	case errors.Is(err, context.Canceled):
		f = refuse(statusGone, "caller_left", "the caller left")
	case errors.Is(err, hedge.ErrNobody):
		f = refuse(http.StatusServiceUnavailable, "no_worker", "no worker is there to take the call")
		f.body.Retryable, f.retryAfter = true, time.Second
	case errors.Is(err, fleet.ErrLongMissing):
		f = refuse(http.StatusNotFound, jobs.RunMissing, "no run has this identifier")
	case errors.Is(err, fleet.ErrLongFull):
		f = refuse(http.StatusTooManyRequests, "busy", fleet.ErrLongFull.Error()) // err may name an agent that was being asked
		f.body.Retryable, f.retryAfter = true, 2*time.Second
	case errors.As(err, &we):
		f = workerFault(we)
	default:
		f = refuse(http.StatusInternalServerError, "internal", "the gateway failed")
		f.body.Retryable = true
	}
	f.cause = err
	return f
}

// workerFault passes on what a worker refused, and says of our own failures
// nothing but that they are ours: addresses and causes belong in the log.
func workerFault(we *fleet.Error) *fault {
	if !we.System() && we.Answer != nil {
		return &fault{status: we.Status, body: *we.Answer}
	}
	if we.Busy() {
		f := refuse(http.StatusTooManyRequests, "busy", "every worker is busy")
		f.body.Retryable, f.retryAfter = true, max(time.Second, we.RetryAfter)
		return f
	}
	if errors.Is(we, fleet.ErrTooLarge) {
		return refuse(http.StatusBadGateway, "answer_too_large", "the answer is larger than this gateway passes on")
	}
	status, code := http.StatusBadGateway, "worker_failed"
	if we.Status == 0 {
		status, code = http.StatusServiceUnavailable, "worker_lost"
	}
	f := refuse(status, code, "the worker could not do its part; no result was lost or kept")
	if status == http.StatusServiceUnavailable {
		f.retryAfter = time.Second
	}
	f.body.Retryable = true
	return f
}

// callFault is the answer to one call whose outcome is not OK.
func callFault(c *jobs.CallResult) *fault {
	f := &fault{status: http.StatusUnprocessableEntity, body: jobs.Error{
		Code: string(c.Outcome), Message: c.Message, Outcome: c.Outcome, Traceback: c.Traceback, Output: c.Output,
	}}
	switch c.Outcome {
	case jobs.Missing:
		f.status, f.body.Code = http.StatusNotFound, c.Code
	case jobs.SessionLost:
		f.status = http.StatusFailedDependency
	}
	return f
}

// shape is {"error": {...}}, the one shape of every failure.
func (f *fault) shape(id string) []byte {
	e := f.body
	e.ID = id
	b, err := json.Marshal(struct {
		Error jobs.Error `json:"error"`
	}{e})
	if err != nil { // strings, a bool: cannot fail
		return []byte(`{"error":{"code":"internal","message":"","retryable":true}}`)
	}
	return b
}

func (f *fault) write(w http.ResponseWriter, id string) {
	h := w.Header()
	for k, vs := range f.header {
		h[k] = vs
	}
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if f.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((f.retryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(f.status)
	w.Write(f.shape(id))
}
