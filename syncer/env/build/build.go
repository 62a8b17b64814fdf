// Package build turns recipes into environments of a store, each once.
//
// It guarantees that a locked recipe is built at most once and found ever after,
// by its digest, as long as it is asked for now and then; that callers who ask for one recipe at the same time share one
// build, which goes on when they leave; that an environment is named only when it
// is stored whole; and that builds which run, wait and are remembered are bounded,
// in all and for each who asks.
//
// It refuses recipes whose base is not in the store. It installs nothing itself:
// a Maker does, in its sandbox.
package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/recipe"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/prairielambda/prairielambda/syncer/env"
)

// Maker installs packages. Both methods are safe for concurrent use, read lower,
// a root filesystem that nobody changes ("" for none), and tell what they do to
// out, line by line.
type Maker interface {
	// Lock finds out what r means now over the base, NAME@DIGEST, at lower.
	Lock(ctx context.Context, base, lower string, r *recipe.Recipe, out func(line string)) (*recipe.Locked, error)
	// Build installs exactly that. The caller closes and frees what it returns.
	Build(ctx context.Context, lower string, l *recipe.Locked, out func(line string)) (*recipe.Delta, error)
}

// Config configures a Service. Syncer, Maker and Dir are required; the zero value
// of another field means its default.
type Config struct {
	Syncer *syncer.Syncer
	Maker  Maker
	Dir    string     // of unpacked bases, for root's eyes only; made where it is missing
	Base   string     // of recipes that name none and are no root; "default" when empty
	Limits env.Limits // of what is built

	Running  int           // builds at once; 1 when 0
	Waiting  int           // builds that wait besides; 32 when 0
	PerOwner int           // builds of one owner that run or wait; 4 when 0
	Keep     time.Duration // how long a build's end is remembered; 1 h when 0
	Log      zerolog.Logger
}

// Service is safe for concurrent use.
type Service struct {
	cfg    Config
	bases  singleflight.Group
	places chan struct{} // one for each build that runs

	ctx context.Context // of builds that were asked for
	end context.CancelFunc
	wg  sync.WaitGroup

	mu      sync.Mutex       // guards what follows
	tasks   map[string]*task // by id
	renewed map[string]time.Time
}

// New returns a Service; Close ends it.
func New(cfg Config) (*Service, error) {
	if cfg.Base == "" {
		cfg.Base = "default"
	}
	for _, d := range []struct {
		v   *int
		def int
	}{{&cfg.Running, 1}, {&cfg.Waiting, 32}, {&cfg.PerOwner, 4}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	if cfg.Keep <= 0 {
		cfg.Keep = time.Hour
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(cfg.Dir, 0o700); err != nil { // what environments hold may be set-id
		return nil, err
	}
	if err := env.Sweep(cfg.Dir); err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, places: make(chan struct{}, cfg.Running), tasks: map[string]*task{}, renewed: map[string]time.Time{}}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s, nil
}

// Close ends what still runs and waits for it.
func (s *Service) Close() {
	s.end()
	s.wg.Wait()
}

// day is how often gc is told that an environment is used.
const (
	day        = 24 * time.Hour
	maxRenewed = 10_000
)

// used tells gc that name is used: once a day and process.
func (s *Service) used(ctx context.Context, name string) {
	s.mu.Lock()
	fresh := time.Since(s.renewed[name]) < day
	s.mu.Unlock()
	if fresh {
		return
	}
	if err := s.cfg.Syncer.Renew(ctx, head.EnvCourse(name), day); err != nil {
		s.cfg.Log.Warn().Err(err).Str("environment", name).Msg("gc could not be told that it is used")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.renewed) >= maxRenewed {
		clear(s.renewed)
	}
	s.renewed[name] = time.Now()
}

// Report says what became of a recipe.
type Report struct {
	Environment string `json:"environment"` // NAME@DIGEST
	Built       string `json:"built"`       // the name that the locked recipe has
	Reused      bool   `json:"reused"`      // it had been built before
	Bytes       int64  `json:"bytes"`       // stored for it
}

// Build makes r the newest version of environment name, and of the one that r
// itself has a name for. An empty name is that one.
func (s *Service) Build(ctx context.Context, name string, r *recipe.Recipe, out func(line string)) (Report, error) {
	if name == "" {
		name = r.Name()
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	case <-ctx.Done():
		return Report{}, context.Cause(ctx)
	}
	v, rep, err := s.build(ctx, r, out)
	if err != nil {
		return rep, err
	}
	for _, n := range []string{r.Name(), name} {
		if _, err := s.cfg.Syncer.Alias(ctx, head.EnvCourse(n), v); err != nil {
			return rep, fmt.Errorf("name environment %s: %w", n, err)
		}
	}
	for _, n := range []string{r.Name(), rep.Built} {
		s.used(ctx, n)
	}
	rep.Environment = name + "@" + v.Version
	return rep, nil
}

// build builds what r consists of, one over the other, and returns the last.
func (s *Service) build(ctx context.Context, r *recipe.Recipe, out func(string)) (v head.Version, rep Report, err error) {
	first, rest := r.Split()
	if first != nil {
		if v, rep, err = s.build(ctx, first, out); err != nil {
			return v, rep, err
		}
		rest.Base = rep.Built + "@" + v.Version
	}
	var lower string
	var settings env.Config
	ask := rest.Base
	if ask == "" && len(rest.Debian) == 0 {
		ask = s.cfg.Base
	}
	base := ""
	if ask != "" {
		if base, lower, settings, err = s.base(ctx, ask); err != nil {
			return v, rep, err
		}
	}
	l, err := s.cfg.Maker.Lock(ctx, base, lower, rest, out)
	if err != nil {
		return v, rep, err
	}
	bytes := rep.Bytes
	rep = Report{Built: l.Name(), Bytes: bytes}
	v, err = s.cfg.Syncer.Resolve(ctx, head.EnvCourse(l.Name()), "")
	if err == nil {
		rep.Reused = true
		out("it has been built before: " + l.Name())
		return v, rep, nil
	}
	if !errors.Is(err, head.ErrNotFound) {
		return v, rep, err
	}
	d, err := s.cfg.Maker.Build(ctx, lower, l, out)
	if err != nil {
		return v, rep, err
	}
	defer func() { err = errors.Join(err, d.Free()) }()
	src, err := env.OpenLayers(env.Layers{Lower: lower, Upper: d.Dir, Owner: d.Owner, Settings: settings.With(l.Settings, l.Digest())})
	if err != nil {
		return v, rep, errors.Join(err, d.Dir.Close())
	}
	defer src.Close()
	out("store it")
	pushed, err := env.Push(ctx, s.cfg.Syncer, l.Name(), src, s.cfg.Limits)
	if err != nil {
		return v, rep, err
	}
	rep.Bytes += pushed.BytesUploaded
	v, err = s.cfg.Syncer.Resolve(ctx, head.EnvCourse(l.Name()), pushed.Version)
	return v, rep, err
}

// base finds an environment, NAME or NAME@DIGEST, and unpacks it where it is not yet.
func (s *Service) base(ctx context.Context, ask string) (ref, dir string, c env.Config, err error) {
	name, digest, _ := strings.Cut(ask, "@")
	if err := head.CheckEnv(name); err != nil {
		return "", "", c, &syncer.RefusedError{Reason: err.Error()}
	}
	v, err := s.cfg.Syncer.Resolve(ctx, head.EnvCourse(name), digest)
	if errors.Is(err, head.ErrNotFound) {
		return "", "", c, &syncer.RefusedError{Reason: fmt.Sprintf("there is no environment %s to build on", ask)}
	}
	if err != nil {
		return "", "", c, err
	}
	dir = filepath.Join(s.cfg.Dir, v.Version)
	if c, err = env.Settings(ctx, s.cfg.Syncer, name, v.Version); err != nil {
		return "", "", c, err
	}
	_, err, _ = s.bases.Do(v.Version, func() (any, error) {
		if _, err := os.Stat(dir); err == nil {
			return nil, nil
		}
		return nil, env.Unpack(ctx, s.cfg.Syncer, name, v.Version, dir)
	})
	return name + "@" + v.Version, dir, c, err
}
