package fleettest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
)

// spool is one asynchronous run: frame i is there after i times State.Delay.
type spool struct {
	owner  string
	frames []jobs.RunFrame
	begun  time.Time
	delay  time.Duration
}

func (s *spool) chunk(from int) jobs.RunChunk {
	n := len(s.frames)
	if s.delay > 0 {
		n = min(n, int(time.Since(s.begun)/s.delay))
	}
	c := jobs.RunChunk{Frames: []jobs.RunFrame{}, Completed: n == len(s.frames)}
	if from < n {
		c.Frames = s.frames[from:n]
	}
	if c.Completed {
		c.Outcome = jobs.OK
	}
	return c
}

func (w *Worker) runs(rw http.ResponseWriter, r *http.Request, st State) {
	id := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/v1/runs"), "/")
	if r.Method == http.MethodDelete {
		w.mu.Lock()
		for id, s := range w.spools {
			if s.chunk(0).Completed {
				delete(w.spools, id)
			}
		}
		w.mu.Unlock()
		rw.WriteHeader(http.StatusNoContent)
		return
	}
	if id == "" {
		var req jobs.RunRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || st.Frames == nil && req.Grading == nil {
			refuse(rw, http.StatusBadRequest, &jobs.Error{Code: "bad_request", Message: "no run"})
			return
		}
		id = rand.Text()
		w.mu.Lock()
		if w.spools == nil {
			w.spools = map[string]*spool{}
		}
		frames := st.Frames
		if req.Grading != nil {
			frames = func(jobs.Program) []jobs.RunFrame { return gradeFrames(req.Grading) }
		}
		w.spools[id] = &spool{req.Owner, frames(req.Program), time.Now(), st.Delay}
		w.mu.Unlock()
		answer(rw, http.StatusCreated, jobs.RunCreated{ID: id})
		return
	}
	q := r.URL.Query()
	w.mu.Lock()
	s := w.spools[id]
	w.mu.Unlock()
	from, err := strconv.Atoi(q.Get("from"))
	if s == nil || s.owner != q.Get("owner") || err != nil || from < 0 {
		refuse(rw, http.StatusNotFound, &jobs.Error{Code: jobs.RunMissing, Message: "no such run"})
		return
	}
	wait, _ := strconv.Atoi(q.Get("wait"))
	for end := time.Now().Add(time.Duration(wait) * time.Millisecond); ; time.Sleep(time.Millisecond) {
		c := s.chunk(from)
		if len(c.Frames) > 0 || c.Completed || time.Now().After(end) || r.Context().Err() != nil {
			answer(rw, http.StatusOK, c)
			return
		}
	}
}

// gradeFrames are what a grader says that finds every submission half right, and
// tells what it was given.
func gradeFrames(g *jobs.Grading) []jobs.RunFrame {
	said, _ := json.Marshal(fmt.Sprintf("%s/%s/%s %s", g.Course, g.Version, g.Question, g.Data))
	grade, _ := json.Marshal(jobs.Grade{
		State: jobs.Graded, Score: 0.5, Gradable: true, FormatErrors: map[string][]string{}, Environment: "grader@" + strings.Repeat("ab", 32),
		Feedback: jobs.GradeFeedback{Succeeded: true, Results: json.RawMessage(`{"score":0.5}`)},
	})
	return []jobs.RunFrame{{Type: jobs.FrameStdout, Data: said}, {Type: jobs.FrameGrade, Data: grade}}
}
