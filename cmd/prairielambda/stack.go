package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/chunkfs"
	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/scheduler/preview"
	"github.com/prairielambda/prairielambda/syncer"
)

// stack is a course served on this machine: its tree pushed into a store, the
// store mounted by one child, course code run by another.
type stack struct {
	*place
	*client
	storage *storage.Store
	syncer  *syncer.Syncer
	stats   syncer.Stats
	tree    bool   // no FUSE: versions are copied out below mount()
	why     string // why there is no FUSE
	mnt     *child // nil with a tree
	worker  *child
	log     zerolog.Logger
	recipes recipeFlags
}

// stackConfig says how to open a stack.
type stackConfig struct {
	dir, tier, python, cgroup string
	programs                  bool     // runtimes of programs, too
	environments              []string // NAME=SOURCE, pushed first
	recipes                   recipeFlags
	log                       zerolog.Logger
	stderr                    io.Writer // of the children
}

// openStack serves the course at dir and returns its first version.
func openStack(ctx context.Context, cfg stackConfig) (s *stack, version string, err error) {
	p, err := openPlace(cfg.dir)
	if err != nil {
		return nil, "", err
	}
	s = &stack{place: p, log: cfg.log, recipes: cfg.recipes}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
			s = nil
		}
	}()
	if s.storage, err = storage.Create(ctx, p.store()); err != nil {
		return s, "", err
	}
	s.syncer = syncer.New(syncer.Config{Blobs: s.storage.Blobs, Heads: s.storage.Heads, Log: cfg.log})
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return s, "", err
	}
	level := cfg.log.GetLevel()
	if level == zerolog.InfoLevel {
		level = zerolog.WarnLevel // an author asked for a page, not for a line a call
	}
	s.mnt, err = start(ctx, mountRole, childConfig{Store: p.store(), Cache: p.cache(), Point: p.mount(), Level: level}, cfg.stderr)
	if err != nil {
		if ctx.Err() != nil {
			return s, "", err
		}
		s.tree, s.why = true, err.Error()
	}
	if err = s.pushEnvironments(ctx, cfg.environments); err != nil {
		return s, "", err
	}
	s.buildRecipes(ctx)
	if version, err = s.push(ctx); err != nil {
		return s, "", err
	}
	s.worker, err = start(ctx, workerRole, childConfig{
		Point: p.mount(), TicketPub: pub, Tier: cfg.tier, Python: cfg.python, Cgroup: cfg.cgroup, Programs: cfg.programs, Runs: p.runs(), Level: level,
	}, cfg.stderr)
	if err != nil {
		return s, "", fmt.Errorf("worker: %w", err)
	}
	s.client = newClient("http://"+s.worker.ready.Address, key)
	return s, version, nil
}

// push makes the working tree a version, which every new call sees.
func (s *stack) push(ctx context.Context) (version string, err error) {
	put := s.syncer.Push
	if s.worker == nil && s.damaged(ctx) { // asked once, at the first push
		put = s.syncer.Repush
	}
	for try := 0; ; try++ {
		var r syncer.Report
		r, err = put(ctx, s.course, syncer.Dir(s.source, &s.stats))
		if err == nil {
			return r.Version, s.publish(ctx, r.Version)
		}
		var refused *syncer.RefusedError
		moving := errors.As(err, &refused) || errors.Is(err, head.ErrConflict) || errors.Is(err, fs.ErrNotExist)
		if !moving || try == 3 || ctx.Err() != nil {
			return "", err
		}
		time.Sleep(20 * time.Millisecond) // an editor or git was in the middle of writing
	}
}

// damaged reports whether the store has lost what its head names: a cache
// directory is everybody's to clean up in.
func (s *stack) damaged(ctx context.Context) bool {
	v, err := s.syncer.Resolve(ctx, s.course, "current")
	if err == nil {
		_, err = s.syncer.Manifest(ctx, v.Manifest)
	}
	var corrupt *blob.CorruptError
	return errors.As(err, &corrupt) || errors.Is(err, blob.ErrNotFound)
}

// tidy removes versions that nobody will ask for again, once the first minute is
// over: what a variant was made with stays as long as the variant.
func (s *stack) tidy(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(time.Minute):
	}
	r, err := s.syncer.GC(ctx, syncer.GCPolicy{Last: 50, Within: preview.KeepFor, Grace: 24 * time.Hour})
	if err != nil && ctx.Err() == nil {
		s.log.Warn().Err(err).Msg("old versions could not be removed")
	}
	s.log.Debug().Int("versions", r.VersionsRemoved).Int64("bytes", r.BytesRemoved).Msg("old versions removed")
}

// publish copies a version out where there is no mount.
func (s *stack) publish(ctx context.Context, version string) error {
	if !s.tree {
		return nil
	}
	dir := filepath.Join(s.mount(), s.course)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, version)); err != nil {
		if _, err := s.syncer.Pull(ctx, s.course, version, filepath.Join(dir, version)); err != nil {
			return fmt.Errorf("copy version %s out: %w", version, err)
		}
	}
	link := filepath.Join(dir, ".current")
	_ = os.Remove(link)
	if err := os.Symlink(version, link); err != nil {
		return err
	}
	return os.Rename(link, filepath.Join(dir, "current"))
}

// files are a version's, as course code sees them.
func (s *stack) files(version string) fs.FS {
	return os.DirFS(filepath.Join(s.mount(), s.course, version))
}

// ended returns when ctx ends, or with an error when a child ends by itself.
func (s *stack) ended(ctx context.Context) error {
	var mnt <-chan struct{}
	if s.mnt != nil {
		mnt = s.mnt.done
	}
	select {
	case <-ctx.Done():
		return nil
	case <-mnt:
		return fmt.Errorf("the mount ended by itself: %w", orUnknown(s.mnt.err))
	case <-s.worker.done:
		return fmt.Errorf("the worker ended by itself: %w", orUnknown(s.worker.err))
	}
}

func orUnknown(err error) error {
	if err == nil {
		return errors.New("with code 0")
	}
	return err
}

// close ends the children, the worker first: it reads the mount.
func (s *stack) close() error {
	for _, c := range []*child{s.worker, s.mnt} {
		if c != nil {
			c.stop()
		}
	}
	var err error
	if s.storage != nil {
		err = s.storage.Close()
	}
	return errors.Join(err, s.place.close())
}

// isMountPoint compares devices: below a mount is another one than beside it.
func isMountPoint(dir string) bool {
	var at, above unix.Stat_t
	if err := unix.Lstat(dir, &at); err != nil {
		return !errors.Is(err, fs.ErrNotExist) // a dead FUSE server answers ENOTCONN
	}
	return unix.Lstat(filepath.Dir(dir), &above) == nil && at.Dev != above.Dev
}

// unmountStale takes a dead mount away.
func unmountStale(dir string) {
	if isMountPoint(dir) {
		_, _ = chunkfs.Detach(context.Background(), dir)
	}
}
