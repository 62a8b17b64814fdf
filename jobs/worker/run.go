package worker

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/prairielambda/prairielambda/jobs"
)

// run answers POST /v1/run: a program with its sources, in and out.
func (w *Worker) run(rw http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("Prairie-Id")
	var p jobs.Program
	if err := json.NewDecoder(http.MaxBytesReader(rw, r.Body, w.cfg.MaxBody)).Decode(&p); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			fail(rw, http.StatusRequestEntityTooLarge, &jobs.Error{Code: "too_large", Message: err.Error(), ID: id})
			return
		}
		fail(rw, http.StatusBadRequest, &jobs.Error{Code: "bad_request", Message: "the body is no program: " + err.Error(), ID: id})
		return
	}
	if p.ID == "" {
		p.ID = id
	}
	ctx, cancel, refused := w.admit(r, "", "") // a program belongs to no course
	if refused != nil {
		refused.ID = id
		fail(rw, http.StatusUnauthorized, refused)
		return
	}
	defer cancel()
	w.calls.Add(1)
	defer w.calls.Done()
	if w.draining.Load() {
		fail(rw, http.StatusServiceUnavailable, &jobs.Error{Code: "draining", Message: "this worker is draining", Retryable: true, ID: id})
		return
	}
	res, err := w.cfg.Pool.Run(ctx, &p)
	if err != nil {
		w.refuse(rw, r, p.ID, err)
		return
	}
	w.cfg.Log.Info().Str("id", p.ID).Str("runtime", res.Runtime).Int("steps", len(res.Steps)).Str("outcome", string(res.Outcome)).Msg("ran")
	answer(rw, res)
}
