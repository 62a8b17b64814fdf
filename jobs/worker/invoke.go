package worker

import (
	"context"
	"errors"
	"net/http"

	"github.com/prairielambda/prairielambda/jobs"
)

func (w *Worker) invoke(rw http.ResponseWriter, r *http.Request) {
	var inv jobs.Invocation
	if !w.body(rw, r, "invocation", &inv) {
		return
	}
	if inv.ID == "" {
		inv.ID = r.Header.Get("Prairie-Id")
	}
	ctx, end, ok := w.open(rw, r, inv.Course, inv.Version)
	if !ok {
		return
	}
	defer end()
	lines := newLines(rw, r)
	res, err := w.cfg.Pool.Do(lines.listen(ctx), &inv)
	if err != nil && lines.begun() {
		w.cfg.Log.Error().Err(err).Str("id", inv.ID).Msg("invocation failed half way")
		lines.write(jobs.Progress{Error: &jobs.Error{Code: "system_error", Message: err.Error(), Retryable: true, ID: inv.ID}})
		return
	}
	if err != nil {
		w.refuse(rw, r, inv.ID, err)
		return
	}
	w.metrics.observe(res)
	w.tracePhases(ctx, res.Phases)
	log := w.cfg.Log.Info().Str("id", inv.ID).Str("course", inv.Course).Str("version", res.Version).Int("calls", len(res.Calls)).
		Dur("queue", res.Phases.Queue).Dur("claim", res.Phases.Claim).Dur("run", res.Phases.Run).Dur("collect", res.Phases.Collect)
	if n := len(res.Calls); n > 0 {
		log.Str("outcome", string(res.Calls[n-1].Outcome))
	}
	log.Msg("invoked")
	if lines != nil {
		lines.end(res)
		return
	}
	answer(rw, res)
}

// refuse is the one place where an error becomes a status.
func (w *Worker) refuse(rw http.ResponseWriter, r *http.Request, id string, err error) {
	var je *jobs.Error
	switch {
	case errors.As(err, &je):
		status := http.StatusBadRequest
		if je.Code == jobs.CourseMissing || je.Code == jobs.VersionMissing {
			status = http.StatusNotFound
		}
		e := *je
		e.ID = id
		fail(rw, status, &e)
	case r.Context().Err() != nil: // nobody is there to read it
		w.metrics.gone.Inc()
		fail(rw, 499, &jobs.Error{Code: "gone", Message: "the caller left", ID: id})
	case errors.Is(err, context.DeadlineExceeded):
		fail(rw, http.StatusServiceUnavailable, &jobs.Error{
			Code: "busy", Message: "the deadline passed before the call could finish: " + err.Error(), Retryable: true, ID: id,
		})
	default:
		w.metrics.failed.Inc()
		w.cfg.Log.Error().Err(err).Str("id", id).Msg("invocation failed")
		fail(rw, http.StatusInternalServerError, &jobs.Error{Code: "system_error", Message: err.Error(), Retryable: true, ID: id})
	}
}

func (w *Worker) version(rw http.ResponseWriter, r *http.Request) {
	course, version := r.PathValue("course"), r.PathValue("version")
	_, cancel, refused := w.admit(r, course, version)
	if refused != nil {
		fail(rw, http.StatusUnauthorized, refused)
		return
	}
	defer cancel()
	info, err := w.cfg.Courses.Info(course, version)
	if err != nil {
		w.refuse(rw, r, r.Header.Get("Prairie-Id"), err)
		return
	}
	answer(rw, info)
}
