package worker

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
)

// lines answers an invocation one line a call, as they finish; nil answers it as
// a whole.
type lines struct {
	rw   http.ResponseWriter
	sent int
}

const typeLines = "application/x-ndjson"

func newLines(rw http.ResponseWriter, r *http.Request) *lines {
	if r.Header.Get("Accept") != typeLines {
		return nil
	}
	return &lines{rw: rw}
}

func (l *lines) begun() bool { return l != nil && l.sent > 0 }

func (l *lines) listen(ctx context.Context) context.Context {
	if l == nil {
		return ctx
	}
	return pool.Tell(ctx, l.upTo)
}

// upTo sends what was not sent before.
func (l *lines) upTo(calls []jobs.CallResult) {
	for ; l.sent < len(calls); l.sent++ {
		l.write(jobs.Progress{Call: &calls[l.sent]})
	}
}

func (l *lines) end(res *jobs.Result) {
	l.upTo(res.Calls)
	rest := *res
	rest.Calls = nil
	l.write(jobs.Progress{Result: &rest})
}

func (l *lines) write(p jobs.Progress) {
	l.rw.Header().Set("Content-Type", typeLines)
	_ = json.NewEncoder(l.rw).Encode(p)          // the caller left
	_ = http.NewResponseController(l.rw).Flush() // likewise
}
