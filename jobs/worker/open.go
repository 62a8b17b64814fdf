package worker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/ticket"
)

// open lets a request in that concerns a version of a course, or neither: its
// ticket is good and we do not drain. It answers every other one. The context
// carries the caller's deadline; close ends it, and tells a drain that the
// request is done.
func (w *Worker) open(rw http.ResponseWriter, r *http.Request, course, version string) (ctx context.Context, end func(), ok bool) {
	id := r.Header.Get("Prairie-Id")
	ctx, cancel, refused := w.admit(r, course, version)
	if refused != nil {
		refused.ID = id
		fail(rw, http.StatusUnauthorized, refused)
		return nil, nil, false
	}
	w.calls.Add(1)
	w.taken.Add(1)
	end = func() { w.calls.Done(); cancel() }
	if w.draining.Load() {
		end()
		fail(rw, http.StatusServiceUnavailable, &jobs.Error{Code: "draining", Message: "this worker is draining", Retryable: true, ID: id})
		return nil, nil, false
	}
	return ctx, end, true
}

// admit checks the ticket and turns the caller's deadline into the context's.
func (w *Worker) admit(r *http.Request, course, version string) (context.Context, context.CancelFunc, *jobs.Error) {
	if w.cfg.Tickets != nil {
		if _, err := w.cfg.Tickets.Verify(r.Header.Get("Authorization"), course, version); err != nil {
			return nil, nil, &jobs.Error{Code: "ticket", Message: err.Error()}
		}
	}
	ctx := r.Context()
	ms, err := strconv.ParseInt(r.Header.Get("Prairie-Deadline"), 10, 64)
	if err != nil || ms <= 0 || ms > int64(ticket.MaxLife/time.Millisecond) {
		ctx, cancel := context.WithCancel(ctx)
		return ctx, cancel, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
	return ctx, cancel, nil
}

// body reads what the request brings into v, or answers that it is none.
func (w *Worker) body(rw http.ResponseWriter, r *http.Request, what string, v any) bool {
	err := json.NewDecoder(http.MaxBytesReader(rw, r.Body, w.cfg.MaxBody)).Decode(v)
	if err == nil {
		return true
	}
	id := r.Header.Get("Prairie-Id")
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		fail(rw, http.StatusRequestEntityTooLarge, &jobs.Error{Code: "too_large", Message: err.Error(), ID: id})
		return false
	}
	fail(rw, http.StatusBadRequest, &jobs.Error{Code: "bad_request", Message: "the body is no " + what + ": " + err.Error(), ID: id})
	return false
}
