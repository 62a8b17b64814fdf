package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
	"github.com/prairielambda/prairielambda/jobs/ticket"
	"github.com/prairielambda/prairielambda/scheduler/question"
)

// share is some seeds of one question, tried one after another by the worker
// itself: a trial is a dozen phases, and half of what a rehearsed one takes would
// be its way between two programs.
type share struct {
	Course  string `json:"course"`
	Version string `json:"version"`
	QID     string `json:"qid"`
	First   uint32 `json:"first"`
	Last    uint32 `json:"last"`
	Apart   bool   `json:"apart,omitempty"` // a sandbox for each phase; otherwise they are rehearsed in one
}

// tried is one line of the worker's answer to a share: a trial, or why there is none.
type tried struct {
	Trial *question.Trial `json:"trial,omitempty"`
	Error string          `json:"error,omitempty"`
}

const trialsPath = "/trials"

// try has the worker try a share, and hands each trial over as it ends.
func (c *client) try(ctx context.Context, w share, each func(*question.Trial)) error {
	body, err := json.Marshal(w)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+trialsPath, bytes.NewReader(body))
	if err != nil {
		return err
	}
	auth, err := c.sign(w.Course, w.Version, time.Now().Add(longest))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", auth)
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the worker: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("ask the worker: it answered " + resp.Status)
	}
	lines := json.NewDecoder(resp.Body)
	for range w.Last - w.First + 1 {
		var t tried
		if err := lines.Decode(&t); err != nil {
			return fmt.Errorf("ask the worker: %w", err)
		}
		if t.Error != "" {
			return errors.New(t.Error)
		}
		each(t.Trial)
	}
	return nil
}

// trials answers shares in the worker, to who has a ticket.
type trials struct {
	pool    *pool.Pool
	tickets *ticket.Verifier
	courses string // where they are mounted
}

// ServeHTTP implements http.Handler.
func (h *trials) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var w share
	if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&w); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	if _, err := h.tickets.Verify(r.Header.Get("Authorization"), w.Course, w.Version); err != nil {
		http.Error(rw, err.Error(), http.StatusUnauthorized)
		return
	}
	lines := json.NewEncoder(rw)
	flush := http.NewResponseController(rw)
	err := h.try(r.Context(), w, func(t *question.Trial) {
		if lines.Encode(tried{Trial: t}) == nil {
			_ = flush.Flush() // whoever asked is gone, and the context with it
		}
	})
	if err != nil {
		_ = lines.Encode(tried{Error: err.Error()})
	}
}

func (h *trials) try(ctx context.Context, w share, each func(*question.Trial)) error {
	apart := &question.Question{
		Runner: inPool{h.pool}, Course: w.Course, Version: w.Version, QID: w.QID,
		Info: readInfo(os.DirFS(filepath.Join(h.courses, w.Course, w.Version)), w.QID),
	}
	q := *apart
	if !w.Apart {
		r := &rehearsal{pool: h.pool}
		defer r.close()
		q.Runner = r
	}
	sure := w.Apart // that what fails would fail students, too
	for seed := w.First; seed <= w.Last; seed++ {
		t, err := q.Try(ctx, seed, question.Cases)
		if err == nil && t.Fails() && !sure {
			t, err = apart.Try(ctx, seed, question.Cases)
			sure = err == nil && t.Fails()
		}
		if err != nil {
			return fmt.Errorf("%s, seed %d: %w", w.QID, seed, err)
		}
		each(t)
	}
	return nil
}

// inPool is a question.Runner in the worker's own process: a sandbox for each phase.
type inPool struct{ *pool.Pool }

// Invoke implements question.Runner.
func (p inPool) Invoke(ctx context.Context, inv *jobs.Invocation) (*jobs.Result, error) {
	return p.Do(ctx, inv)
}

// rehearsal is a question.Runner that runs the phases of one question one after
// another in one sandbox, where they run many times faster than each in its own.
// It begins another where one has ended. One goroutine uses it.
type rehearsal struct {
	pool    *pool.Pool
	session *pool.Session // nil before the first, and after one has ended
}

// Invoke implements question.Runner.
func (r *rehearsal) Invoke(ctx context.Context, inv *jobs.Invocation) (*jobs.Result, error) {
	if len(inv.Calls) != 1 {
		return nil, fmt.Errorf("rehearse %s: %d calls at once", inv.Question, len(inv.Calls))
	}
	if r.session == nil {
		s, err := r.pool.OpenSession(ctx, inv)
		if err != nil {
			return nil, err
		}
		r.session = s
	}
	res, alive, err := r.session.Rehearse(ctx, inv.Calls[0], inv.Data)
	if err != nil || !alive {
		r.close()
	}
	return res, err
}

// close ends the sandbox.
func (r *rehearsal) close() {
	if r.session != nil {
		r.session.Close()
		r.session = nil
	}
}

func readInfo(files fs.FS, qid string) question.Info {
	b, err := fs.ReadFile(files, "questions/"+qid+"/info.json")
	if err != nil {
		return question.Info{Faults: []string{err.Error()}}
	}
	return question.ParseInfo(b)
}
