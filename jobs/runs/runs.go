// Package runs keeps asynchronous runs of programs: what they say is spooled on
// disk, and read from any position for a while after their end.
//
// It guarantees that a run has its place on disk before Create returns; that
// frames are numbered in the order in which they were written and never change;
// that what one run can store is bounded, and that what did not fit is said so
// once; that after a crash every run that was cut off is completed with an
// internal_error, and every other one reads as before. Frames survive the death
// of the process at once, and a power cut from the end of the run on.
//
// It refuses runs for which it has no room, readers who do not own what they
// ask for, and a directory that another process holds. It does not keep
// programs: a run that was cut off is never begun a second time.
package runs

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/rs/zerolog"

	"github.com/prairielambda/prairielambda/internal/durable"
	"github.com/prairielambda/prairielambda/jobs"
)

// Watcher is told of a run as it goes on; see pool.Watcher.
type Watcher interface {
	Begin(step, ref string, argv []string)
	Output(stderr bool, piece []byte)
}

// Config configures a Store. Dir and Run are required; the zero value of another
// field means its default.
type Config struct {
	Dir string // its own; made when missing
	// Run runs a program to its end and tells w of it meanwhile. A *jobs.Error
	// means that the program cannot be run, any other error that we failed.
	Run func(ctx context.Context, p *jobs.Program, w Watcher) (*jobs.ProgramResult, error)
	// Grade does the same for gradings; nil refuses them.
	Grade func(ctx context.Context, g *jobs.Grading, w Watcher) (*jobs.Grade, error)

	Keep    time.Duration // after a run's end; default 1 h
	Longest time.Duration // for one run, its wait included; default 10 min
	Running int           // runs at once; default one a core
	Active  int           // runs that wait or run; default 64
	Bytes   int64         // of one run's output; default 1 MiB
	Total   int64         // of all spools; default 1 GiB
	Log     zerolog.Logger
}

// Reasons for which a Store refuses.
var (
	ErrFull    = errors.New("no room for another run")
	ErrMissing = errors.New("no such run")
	ErrClosed  = errors.New("no run is begun any more")
)

// Store is safe for concurrent use.
type Store struct {
	cfg     Config
	name    string
	lock    *flock.Flock
	ctx     context.Context // ends the runs
	end     context.CancelFunc
	running chan struct{}
	wg      sync.WaitGroup // runs and the sweeper

	mu     sync.Mutex // guards below
	spools map[string]*spool
	active int
	closed bool
}

// Open reads what Dir holds, completes what was cut off, and begins to forget
// what is old.
func Open(cfg Config) (*Store, error) {
	set(&cfg.Keep, time.Hour)
	set(&cfg.Longest, 10*time.Minute)
	set(&cfg.Running, runtime.GOMAXPROCS(0))
	set(&cfg.Active, 64)
	set(&cfg.Bytes, 1<<20)
	set(&cfg.Total, 1<<30)
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open runs: %w", err)
	}
	lock := flock.New(filepath.Join(cfg.Dir, "lock"), flock.SetPermissions(0o600))
	if held, err := lock.TryLock(); err != nil || !held {
		return nil, fmt.Errorf("open runs: another worker uses %s: %w", cfg.Dir, errors.Join(err, os.ErrExist))
	}
	s := &Store{cfg: cfg, lock: lock, running: make(chan struct{}, cfg.Running), spools: map[string]*spool{}}
	s.ctx, s.end = context.WithCancel(context.Background())
	if err := errors.Join(s.readName(), s.load()); err != nil {
		s.end()
		return nil, errors.Join(fmt.Errorf("open runs: %w", err), lock.Unlock())
	}
	s.wg.Go(s.sweep)
	return s, nil
}

func set[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Name is the directory's own, and the same for every process that opens it.
func (s *Store) Name() string { return s.name }

func (s *Store) readName() error {
	p := filepath.Join(s.cfg.Dir, "name")
	b, err := os.ReadFile(p)
	if s.name = string(b); err == nil && isID(s.name) {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.name = rand.Text()
	return durable.WriteFile(p, []byte(s.name), 0o600)
}

func (s *Store) load() error {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || !isID(e.Name()) {
			continue
		}
		dir := filepath.Join(s.cfg.Dir, e.Name())
		sp, err := readSpool(dir)
		if err != nil { // its maker died before it was a run, or the disk lies
			s.cfg.Log.Warn().Err(err).Str("run", e.Name()).Msg("spool cannot be read and is removed")
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			continue
		}
		s.spools[e.Name()] = sp
	}
	return nil
}

// Create begins a run and returns its id. The error is ErrFull, ErrClosed, or
// our own failure.
func (s *Store) Create(req *jobs.RunRequest) (id string, err error) {
	id = rand.Text() // 130 bits
	s.mu.Lock()
	used := int64(s.active) * s.cfg.Bytes
	for _, sp := range s.spools {
		used += sp.bytes()
	}
	full := s.active >= s.cfg.Active || used+s.cfg.Bytes > s.cfg.Total
	closed := s.closed
	if !full && !closed {
		s.active++
		s.wg.Add(1)
	}
	s.mu.Unlock()
	switch {
	case closed:
		return "", ErrClosed
	case full:
		return "", ErrFull
	}
	sp, err := newSpool(filepath.Join(s.cfg.Dir, id), req.Owner)
	if err != nil {
		s.done()
		return "", fmt.Errorf("begin run: %w", err)
	}
	s.mu.Lock()
	s.spools[id] = sp
	s.mu.Unlock()
	go func() {
		defer s.done()
		s.run(sp, id, req)
	}()
	return id, nil
}

func (s *Store) done() {
	s.mu.Lock()
	s.active--
	s.mu.Unlock()
	s.wg.Done()
}

// Active is how many runs wait or run.
func (s *Store) Active() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active
}

// Read returns the frames of a run from number from on. With wait it waits for
// one, for the run's end, for that long, or for ctx. The error is ErrMissing or
// our own failure.
func (s *Store) Read(ctx context.Context, id, owner string, from int, wait time.Duration) (*jobs.RunChunk, error) {
	s.mu.Lock()
	sp := s.spools[id]
	s.mu.Unlock()
	if sp == nil || subtle.ConstantTimeCompare([]byte(sp.Owner), []byte(owner)) != 1 {
		return nil, ErrMissing
	}
	if wait > 0 {
		sp.await(ctx, from, wait)
	}
	c, err := sp.read(from)
	if errors.Is(err, os.ErrNotExist) { // forgotten meanwhile
		return nil, ErrMissing
	}
	return c, err
}

// Forget removes every completed run.
func (s *Store) Forget() error { return s.forget(time.Now()) }

// forget removes the runs that ended before a time.
func (s *Store) forget(before time.Time) error {
	var dirs []string
	s.mu.Lock()
	for id, sp := range s.spools {
		if sp.endedBefore(before) {
			delete(s.spools, id)
			dirs = append(dirs, sp.dir)
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, d := range dirs {
		errs = append(errs, os.RemoveAll(d))
	}
	return errors.Join(errs...)
}

func (s *Store) sweep() {
	tick := time.NewTicker(max(min(s.cfg.Keep/4, time.Minute), time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		if err := s.forget(time.Now().Add(-s.cfg.Keep)); err != nil {
			s.cfg.Log.Error().Err(err).Msg("old runs cannot be removed")
		}
	}
}

// Drain begins no run any more and waits for those there are, as long as ctx allows.
func (s *Store) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for s.Active() > 0 {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Close ends what still runs, and lets go of the directory.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.wg.Wait()
	return s.lock.Unlock()
}

// isID reports whether s can be a run's id.
func isID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_') {
			return false
		}
	}
	return len(s) >= 16 && len(s) <= 64
}
