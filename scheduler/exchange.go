package scheduler

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/trace"

	"github.com/prairielambda/prairielambda/scheduler/token"
)

// exchange is one request and what becomes of it.
type exchange struct {
	w    http.ResponseWriter
	r    *http.Request
	id   string
	vars map[string]string
	note note

	span   trace.Span    // nil without a tracer
	public *token.Public // the entry that let a caller without a secret in
	leave  func()        // gives back that caller's place
}

// note is what the log line and the metrics say of an exchange; no payload.
type note struct {
	verb, course, version, name, method string
	token, outcome, cache               string
	status                              int
	trip                                trip
	cause                               error // of a 5xx
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	x := &exchange{w: w, r: r, id: callID(r)}
	g.beginSpan(x)
	rec := &recorder{ResponseWriter: w, patience: g.cfg.WriteTime}
	x.w = rec
	w.Header().Set("Prairie-Id", x.id)
	if r.ContentLength != 0 { // also for a body that nobody reads: the server takes what is left of it before it goes on
		http.NewResponseController(w).SetReadDeadline(begin.Add(g.cfg.BodyTime)) //nolint:errcheck // without a connection nobody is slow
	}
	g.metrics.inflight.Inc()
	defer func() {
		g.metrics.inflight.Dec()
		if x.leave != nil {
			x.leave()
		}
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // the value itself is the signal
				g.finish(x, rec, time.Since(begin))
				panic(p)
			}
			g.cfg.Log.Error().Str("id", x.id).Interface("panic", p).Msg("handler failed")
			x.fail(rec, refuse(http.StatusInternalServerError, "internal", "the gateway failed"))
		}
		g.finish(x, rec, time.Since(begin))
	}()
	if err := g.serve(x); err != nil {
		x.fail(rec, err)
	}
}

// serve checks where the request comes from, finds its route and answers it.
func (g *Gateway) serve(x *exchange) error {
	if err := g.guard(x.r); err != nil {
		return err
	}
	if g.cors(x) {
		x.note.verb = "preflight"
		return nil
	}
	e, vars, err := g.route(x.r.Method, x.r.URL, x.r.Header.Get("Upgrade") != "")
	if e == nil {
		if err == nil && g.cfg.Fallback != nil {
			x.note.verb = "other"
			http.NewResponseController(x.w).SetReadDeadline(time.Time{}) //nolint:errcheck // its bodies are its own
			g.cfg.Fallback.ServeHTTP(x.w, x.r)
			return nil
		}
		if err == nil {
			err = refuse(http.StatusNotFound, "not_found", "no such route")
		}
		return err
	}
	x.vars, x.note.verb = vars, e.verb
	if vars["course"] != "" {
		x.note.course, x.note.version = vars["course"], vars["version"]
		if err == nil {
			err = checkCourse(vars["course"], vars["version"])
		}
		if isID(vars["version"]) {
			x.w.Header().Set("Prairie-Version", vars["version"]) // until it is resolved
		}
	}
	if err != nil {
		return err
	}
	if err := g.authorize(x, e); err != nil {
		return err
	}
	return e.handle(g, x)
}

// fail writes err, unless an answer has already begun: then the connection is
// cut, so that the caller cannot take half an answer for a whole one.
func (x *exchange) fail(rec *recorder, err error) {
	f := faultOf(err)
	if f.cause == nil {
		f.cause = err
	}
	x.note.status, x.note.outcome = f.status, f.body.Code
	if f.status >= 500 {
		x.note.cause = f.cause // ours, so it quotes no payload
	}
	if rec.status != 0 {
		panic(http.ErrAbortHandler)
	}
	if f.status != statusGone {
		f.write(rec, x.id)
	}
}

// deadline returns the exchange's context, which ends with the caller and with
// the deadline that the request names.
func (g *Gateway) deadline(x *exchange) (context.Context, context.CancelFunc) {
	d := g.cfg.Deadline
	if ms, err := strconv.ParseInt(x.r.Header.Get("Prairie-Deadline"), 10, 64); err == nil && ms > 0 {
		d = min(d, time.Duration(min(ms, int64(time.Hour/time.Millisecond)))*time.Millisecond)
	}
	return context.WithTimeout(x.r.Context(), d)
}

// body reads the whole body, or fails when it is too large, too slow or not UTF-8.
func (g *Gateway) body(x *exchange) ([]byte, error) {
	r := http.MaxBytesReader(x.w, x.r.Body, g.cfg.MaxBody)
	var b []byte
	var err error
	if n := x.r.ContentLength; n >= 0 && n <= g.cfg.MaxBody {
		b = make([]byte, n)
		_, err = io.ReadFull(r, b)
		if err == nil {
			_, err = r.Read(make([]byte, 1)) // meets the end, so that the server watches for the caller's leaving
			if errors.Is(err, io.EOF) {
				err = nil
			}
		}
	} else {
		b, err = io.ReadAll(r)
	}
	if err == nil { // later the connection rests until the answer, however long that takes
		http.NewResponseController(x.w).SetReadDeadline(time.Time{}) //nolint:errcheck // as in ServeHTTP
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, err
	case err != nil:
		f := refuse(http.StatusBadRequest, "bad_body", "the body did not arrive whole and in time")
		f.cause = err
		return nil, f
	case !utf8.Valid(b):
		return nil, refuse(http.StatusBadRequest, "bad_request", "the body is not UTF-8")
	}
	return b, nil
}

// callID is the caller's own id where it is a plain word, else a fresh one.
func callID(r *http.Request) string {
	if id := r.Header.Get("Prairie-Id"); isID(id) && len(id) <= 64 {
		return id
	}
	return rand.Text()
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	patience time.Duration // with the caller, for each write
	status   int
	bytes    int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 || status == http.StatusSwitchingProtocols {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	// A writer without deadlines is not a connection, and has nobody to wait for.
	http.NewResponseController(r.ResponseWriter).SetWriteDeadline(time.Now().Add(r.patience)) //nolint:errcheck
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Flush sends what was written so far.
func (r *recorder) Flush() {
	http.NewResponseController(r.ResponseWriter).Flush() // a writer that cannot flush has nothing to send early
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
