// Package preview is the page that authors of a course look at: its questions,
// a variant of one, answers and scores, and what every phase did and took.
//
// It guarantees that reading changes nothing that matters: a GET at most keeps
// the variant that a seed makes anyhow. Everything else is a POST with a token of
// its form, answered by a redirect. A question's HTML lives in sandboxed frames
// of an opaque origin, under a policy that lets it load from this server only.
// What is wrong with a course is shown beside the rest of it, with its file.
//
// It refuses host names and origins that are not its own, and submissions to
// variants that are broken. It reads a course only through the version it shows.
package preview

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/question"
)

// Config configures a Server. Course, Runner, Files and Dir are required.
type Config struct {
	Course string          // its name in URLs
	Runner question.Runner // runs phases; safe for concurrent use
	// Files is the tree of a version. It stays as it is, for as long as anybody asks.
	Files func(version string) fs.FS
	// Dir keeps the variants, the submissions and the key of the forms.
	Dir string
	// Hosts are names of ours besides loopback ones; "*" is any, for a page that
	// stands behind a door of its own.
	Hosts []string
	Tier  string // the isolation in force, to show
	// Run runs the playground's programs, of Runtimes; without either there is no playground.
	Run      func(ctx context.Context, p *jobs.Program) (*jobs.ProgramResult, error)
	Runtimes []jobs.Runtime
	// Grade runs a question's external grader to its end; output is what it printed.
	// An error that is a *jobs.Error is the question's, unless another try may help.
	Grade func(ctx context.Context, g *jobs.Grading) (grade *jobs.Grade, output string, err error)
	Log   zerolog.Logger
}

// Server is an http.Handler.
type Server struct {
	cfg   Config
	mux   *http.ServeMux
	page  *template.Template
	key   []byte // of the forms' tokens
	store *store
	docs  *documents
	plays *documents
	hub   *hub
	locks keyed

	mu       sync.Mutex // guards what follows
	version  string
	fault    string // why the newest edit is not shown
	catalogs map[string]*Catalog
	known    map[string]basics
	infos    map[string]parsed

	graders map[int64]bool // submissions that wait for their grader or have it

	toGrade chan int64    // tells grade
	news    chan struct{} // tells readAhead
	cancel  context.CancelFunc
	ahead   sync.WaitGroup
}

// New opens a course's page. Changed must name a version before it can be shown.
func New(ctx context.Context, cfg Config) (*Server, error) {
	s := &Server{
		cfg: cfg, docs: newDocuments(), plays: newDocuments(), hub: newHub(), catalogs: map[string]*Catalog{}, known: map[string]basics{}, infos: map[string]parsed{},
		news: make(chan struct{}, 1), graders: map[int64]bool{}, toGrade: make(chan int64, maxGradings),
	}
	var err error
	if s.page, err = parseTemplates(); err != nil {
		return nil, fmt.Errorf("preview: %w", err)
	}
	if s.key, err = formKey(filepath.Join(cfg.Dir, "form.key")); err != nil {
		return nil, fmt.Errorf("preview: %w", err)
	}
	if s.store, err = openStore(ctx, filepath.Join(cfg.Dir, "variants.db")); err != nil {
		return nil, fmt.Errorf("preview: %w", err)
	}
	s.mux = http.NewServeMux()
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /{$}":               s.list,
		"GET /question/{qid...}": s.question,
		"POST /variant/{qid...}": s.newVariant,
		"POST /submit/{id}":      s.submit,
		"POST /seeds/{qid...}":   s.seeds,
		"GET /frame/{doc}":       s.frame,
		"POST /open/{id}":        s.setOpen,
		"POST /grade/{id}":       s.gradeAgain,

		"GET /dynamic/{key}/{name...}":         s.dynamic,
		"GET /submission/{key}/file/{name...}": s.upload,

		"GET /files/{version}/{p...}": s.file,
		"GET /events":                 s.events,
		"GET /play":                   s.play,
		"POST /play":                  s.runProgram,
	} {
		s.mux.HandleFunc(pattern, s.handler(h))
	}
	s.mux.HandleFunc("GET /static/{name}", static)
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.ahead.Go(func() { s.readAhead(ctx) })
	for range 2 {
		s.ahead.Go(func() { s.gradeAll(ctx) })
	}
	return s, nil
}

// Hush lets those go who listen for changes: without it a server of the page does
// not come to the end of its requests.
func (s *Server) Hush() { s.hub.close() }

// Close ends the grading and closes the database, when no request runs any more.
func (s *Server) Close() error {
	s.cancel()
	s.hub.close()
	s.ahead.Wait()
	return s.store.close()
}

// Changed shows another version from now on. A fault says why the newest edit
// could not be made one; the version before it stays. Pages are told where there
// is something new, and then it returns true.
func (s *Server) Changed(version string, fault error) bool {
	why := ""
	if fault != nil {
		why = fault.Error()
	}
	s.mu.Lock()
	news := s.fault != why || version != "" && s.version != version
	s.fault = why
	if version != "" {
		s.version = version
	}
	s.mu.Unlock()
	if news {
		s.hub.tell()
		select {
		case s.news <- struct{}{}:
		default: // it will look anyhow
		}
	}
	return news
}

func (s *Server) current() (version, fault string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version, s.fault
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if why := s.refuses(r); why != "" {
		http.Error(w, why, http.StatusForbidden)
		return
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
		"connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	s.mux.ServeHTTP(w, r)
}

// statusError is an error with the status that it is answered with.
type statusError struct {
	status  int
	message string
}

func (e *statusError) Error() string { return e.message }

func refuse(status int, format string, args ...any) error {
	return &statusError{status, fmt.Sprintf(format, args...)}
}

// handler is the one place where an error becomes a page.
func (s *Server) handler(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		err := h(w, r)
		s.cfg.Log.Debug().Str("path", r.URL.Path).Dur("took", time.Since(begin)).Err(err).Msg("page")
		if err == nil || r.Context().Err() != nil {
			return
		}
		var se *statusError
		status, message := http.StatusInternalServerError, err.Error()
		if errors.As(err, &se) {
			status, message = se.status, se.message
		} else {
			s.cfg.Log.Error().Err(err).Str("path", r.URL.Path).Msg("page failed")
		}
		s.render(w, status, "error", map[string]any{"Title": http.StatusText(status), "Message": message})
	}
}

// formKey reads the key, or makes one; a page survives a restart of its server.
func formKey(file string) ([]byte, error) {
	key, err := os.ReadFile(file)
	if err == nil && len(key) == 32 {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key = make([]byte, 32)
	rand.Read(key)
	return key, os.WriteFile(file, key, 0o600)
}
