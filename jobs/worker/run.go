package worker

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/runs"
)

// run answers POST /v1/run: a program with its sources, in and out.
func (w *Worker) run(rw http.ResponseWriter, r *http.Request) {
	var p jobs.Program
	if !w.body(rw, r, "program", &p) {
		return
	}
	if p.ID == "" {
		p.ID = r.Header.Get("Prairie-Id")
	}
	ctx, end, ok := w.open(rw, r, "", "") // a program belongs to no course
	if !ok {
		return
	}
	defer end()
	res, err := w.cfg.Pool.Run(ctx, &p)
	if err != nil {
		w.refuse(rw, r, p.ID, err)
		return
	}
	w.cfg.Log.Info().Str("id", p.ID).Str("runtime", res.Runtime).Int("steps", len(res.Steps)).Str("outcome", string(res.Outcome)).Msg("ran")
	answer(rw, res)
}

// project answers POST /v1/project: the program among the files that its runtime
// lays beside it.
func (w *Worker) project(rw http.ResponseWriter, r *http.Request) {
	var p jobs.Program
	if !w.body(rw, r, "program", &p) {
		return
	}
	_, end, ok := w.open(rw, r, "", "")
	if !ok {
		return
	}
	defer end()
	files, err := w.cfg.Pool.Project(&p)
	if err != nil {
		w.refuse(rw, r, r.Header.Get("Prairie-Id"), err)
		return
	}
	answer(rw, map[string][]jobs.ProgramFile{"files": files})
}

// gradable answers POST /v1/gradable: whether a grading could begin, without a run.
func (w *Worker) gradable(rw http.ResponseWriter, r *http.Request) {
	var g jobs.Grading
	if !w.body(rw, r, "grading", &g) {
		return
	}
	ctx, end, ok := w.open(rw, r, g.Course, g.Version)
	if !ok {
		return
	}
	defer end()
	err := w.cfg.Pool.Gradable(ctx, &g)
	var je *jobs.Error
	switch {
	case err == nil:
		answer(rw, struct{}{})
	case errors.As(err, &je) && je.Outcome == jobs.QuestionError:
		fail(rw, http.StatusUnprocessableEntity, je)
	case errors.As(err, &je) && je.Code == jobs.QuestionMissing:
		fail(rw, http.StatusNotFound, je)
	default:
		w.refuse(rw, r, r.Header.Get("Prairie-Id"), err)
	}
}

// createRun answers POST /v1/runs. What is wrong with the program itself is what
// its run says.
func (w *Worker) createRun(rw http.ResponseWriter, r *http.Request) {
	var req jobs.RunRequest
	if !w.body(rw, r, "run", &req) {
		return
	}
	course, version, what := "", "", req.Program.Runtime+" "+req.Program.Mode
	if g := req.Grading; g != nil {
		course, version, what = g.Course, g.Version, "grade "+g.Question
	}
	_, end, ok := w.open(rw, r, course, version)
	if !ok {
		return
	}
	defer end()
	id := r.Header.Get("Prairie-Id")
	run, err := w.cfg.Runs.Create(&req)
	switch {
	case errors.Is(err, runs.ErrFull):
		fail(rw, http.StatusTooManyRequests, &jobs.Error{Code: "busy", Message: err.Error(), Retryable: true, ID: id})
	case errors.Is(err, runs.ErrClosed):
		fail(rw, http.StatusServiceUnavailable, &jobs.Error{Code: "draining", Message: err.Error(), Retryable: true, ID: id})
	case err != nil:
		w.refuse(rw, r, id, err)
	default:
		w.cfg.Log.Info().Str("id", id).Str("what", what).Msg("run begun")
		answerStatus(rw, http.StatusCreated, jobs.RunCreated{ID: run})
	}
}

// longestWait bounds one long poll.
const longestWait = time.Minute

// readRun answers GET /v1/runs/{id}, also while we drain: runs end meanwhile.
func (w *Worker) readRun(rw http.ResponseWriter, r *http.Request) {
	id, q := r.Header.Get("Prairie-Id"), r.URL.Query()
	ctx, cancel, refused := w.admit(r, "", "")
	if refused != nil {
		refused.ID = id
		fail(rw, http.StatusUnauthorized, refused)
		return
	}
	defer cancel()
	from, err := strconv.Atoi(q.Get("from"))
	if err != nil || from < 0 {
		fail(rw, http.StatusBadRequest, &jobs.Error{Code: "bad_request", Message: "from is the number of a frame", ID: id})
		return
	}
	ms, _ := strconv.ParseInt(q.Get("wait"), 10, 64) // no number, no wait
	wait := min(max(time.Duration(min(ms, longestWait.Milliseconds()))*time.Millisecond, 0), longestWait)
	c, err := w.cfg.Runs.Read(ctx, r.PathValue("id"), q.Get("owner"), from, wait)
	switch {
	case errors.Is(err, runs.ErrMissing):
		fail(rw, http.StatusNotFound, &jobs.Error{Code: jobs.RunMissing, Message: err.Error(), ID: id})
	case err != nil:
		w.refuse(rw, r, id, err)
	default:
		answer(rw, c)
	}
}

// forgetRuns answers DELETE /v1/runs.
func (w *Worker) forgetRuns(rw http.ResponseWriter, r *http.Request) {
	_, end, ok := w.open(rw, r, "", "")
	if !ok {
		return
	}
	defer end()
	if err := w.cfg.Runs.Forget(); err != nil {
		w.refuse(rw, r, r.Header.Get("Prairie-Id"), err)
		return
	}
	rw.WriteHeader(http.StatusNoContent)
}
