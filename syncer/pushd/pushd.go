// Package pushd is the HTTP face of a push: POST {course, repository, rev}.
//
// It guarantees that one course is pushed by one request at a time, in the order
// of arrival, while different courses go on at once, and that one repository is
// fetched by one of them at a time; that a caller who leaves ends its push, which
// loses nothing; and that every failure is a JSON error
// with a code. It refuses callers without a token for the course, bodies that are
// not exactly the three fields, and repositories outside its directory.
package pushd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/prairielambda/prairielambda/syncer/git"
)

// Config says what to push and who may ask. All fields but Log are required.
type Config struct {
	Syncer       *syncer.Syncer
	Repositories string                           // requests name directories below it
	Allow        func(secret, course string) bool // safe for concurrent use
	Metrics      prometheus.Registerer
	Log          zerolog.Logger
}

// Server is an http.Handler.
type Server struct {
	cfg    Config
	pushes *prometheus.CounterVec
	took   prometheus.Histogram

	mu     sync.Mutex        // guards queues
	queues map[string]*queue // by course, and by path of a repository
}

// queue lets one push of a course, or one fetch of a repository, go on at a time.
type queue struct {
	turn  chan struct{} // holds one token
	users int
}

// New makes a Server and registers its metrics.
func New(cfg Config) *Server {
	s := &Server{
		cfg: cfg, queues: map[string]*queue{},
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "prairie_syncer_pushes_total", Help: "Pushes by how they ended."}, []string{"code"}),
		took:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "prairie_syncer_push_seconds", Help: "Time of a push, without waiting for its turn.", Buckets: prometheus.ExponentialBuckets(0.005, 3, 10)}),
	}
	cfg.Metrics.MustRegister(s.pushes, s.took)
	return s
}

// request is the body of POST /push.
type request struct {
	Course     string `json:"course"`
	Repository string `json:"repository"`
	Rev        string `json:"rev"`
}

// failure is an answer that is not 200.
type failure struct {
	status    int
	Code      string `json:"code"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	report, fail := s.serve(r)
	w.Header().Set("Content-Type", "application/json")
	if fail == nil {
		s.pushes.WithLabelValues("ok").Inc()
		json.NewEncoder(w).Encode(report)
		return
	}
	s.pushes.WithLabelValues(fail.Code).Inc()
	w.WriteHeader(fail.status)
	json.NewEncoder(w).Encode(map[string]any{"error": fail})
}

func (s *Server) serve(r *http.Request) (syncer.Report, *failure) {
	var q request
	dec := json.NewDecoder(io.LimitReader(r.Body, 64<<10))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&q); err != nil {
		return syncer.Report{}, &failure{http.StatusBadRequest, "bad_request", "want {course, repository, rev}: " + err.Error(), false}
	}
	if err := head.CheckCourse(q.Course); err != nil {
		return syncer.Report{}, &failure{http.StatusBadRequest, "bad_request", err.Error(), false}
	}
	secret, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !s.cfg.Allow(secret, q.Course) {
		return syncer.Report{}, &failure{http.StatusForbidden, "forbidden", "no token for this course", false}
	}
	if !filepath.IsLocal(q.Repository) {
		return syncer.Report{}, &failure{http.StatusBadRequest, "bad_request", fmt.Sprintf("%q is no repository below the configured directory", q.Repository), false}
	}
	if q.Rev == "" {
		q.Rev = "HEAD"
	}
	leave, err := s.enter(r.Context(), q.Course)
	if err != nil {
		return syncer.Report{}, failed(err)
	}
	defer leave()
	start := time.Now()
	report, err := s.push(r.Context(), q)
	s.took.Observe(time.Since(start).Seconds())
	s.cfg.Log.Info().Err(err).Str("course", q.Course).Str("version", report.Version).Int("blobs", report.BlobsUploaded).
		Dur("took", time.Since(start)).Msg("push")
	if err != nil {
		return report, failed(err)
	}
	return report, nil
}

func (s *Server) push(ctx context.Context, q request) (syncer.Report, error) {
	path := filepath.Join(s.cfg.Repositories, q.Repository)
	leave, err := s.enter(ctx, "/"+path) // git refuses to move a ref that another moves
	if err != nil {
		return syncer.Report{}, err
	}
	err = git.Fetch(ctx, path)
	leave()
	if err != nil {
		return syncer.Report{}, err
	}
	return s.cfg.Syncer.Push(ctx, q.Course, syncer.Git(path, q.Rev))
}

// enter waits for the turn of a course or of a repository; of a path after a slash, which no course has.
func (s *Server) enter(ctx context.Context, what string) (leave func(), err error) {
	s.mu.Lock()
	q := s.queues[what]
	if q == nil {
		q = &queue{turn: make(chan struct{}, 1)}
		s.queues[what] = q
	}
	q.users++
	s.mu.Unlock()
	drop := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if q.users--; q.users == 0 {
			delete(s.queues, what)
		}
	}
	select {
	case q.turn <- struct{}{}:
		return func() { <-q.turn; drop() }, nil
	case <-ctx.Done():
		drop()
		return nil, ctx.Err()
	}
}

// failed maps an error to an answer, in this one place.
func failed(err error) *failure {
	var refused *syncer.RefusedError
	switch {
	case errors.Is(err, head.ErrConflict):
		return &failure{http.StatusConflict, "conflict", err.Error(), true}
	case errors.As(err, &refused):
		return &failure{http.StatusUnprocessableEntity, "refused", err.Error(), false}
	case errors.Is(err, git.ErrNotRepository), errors.Is(err, git.ErrNoRevision):
		return &failure{http.StatusNotFound, "repository_missing", err.Error(), false}
	case errors.Is(err, context.Canceled):
		return &failure{499, "cancelled", "the caller left", true}
	}
	return &failure{http.StatusBadGateway, "failed", err.Error(), true}
}
