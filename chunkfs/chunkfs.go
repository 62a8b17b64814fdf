// Package chunkfs is the read-only filesystem through which a node reads
// courses: /<course>/<version>/... for every version in a store, and
// /<course>/current for the one that a head names.
//
// It guarantees that whatever a reader sees is what was pushed, verified at
// each read from disk or wire, or an error: EIO within the deadline when a
// store cannot be asked, ENOENT only when the store answered that there is no such
// thing, never an empty directory and never a short file. What is cached keeps
// being served while the store is down. A node id means the same for as long as
// its mount lives, also to the next process that serves it (see State).
//
// It refuses every write (EROFS), names that are no course id or version, and
// opens: the kernel is told once that files need none, and then reads warm files without us.
//
// Deadlocks to know about: the process that serves a mount must never touch
// it, must not have its working directory or executable in it, and must not
// page-fault on a mapping of it. Serve in a process of its own.
package chunkfs

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/chunkfs/cache"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"
)

// Heads is what a mount asks the mutable part of a store. head.Store has it.
type Heads interface {
	Get(ctx context.Context, course string) (head.Head, head.Token, error)
	GetVersion(ctx context.Context, course, version string) (head.Version, error)
	List(ctx context.Context) ([]string, error)
	ListVersions(ctx context.Context, course string, fn func(head.Stored) error) error
}

// Config is what an FS is made of. Heads and Cache are needed.
type Config struct {
	Heads Heads
	Cache *cache.Cache // closed by its owner, after FS.Close

	State         *State                                // nil: a new one, for a mount that ends with this process
	Deadline      time.Duration                         // of one request; 0 means 10 s
	HeadTTL       time.Duration                         // how long `current` may lag behind its head; 0 means 1 s
	ManifestBytes int64                                 // manifests kept decoded; 0 means 64 MiB
	Profiles      string                                // file that keeps what questions read besides themselves; empty: only in memory
	Seeds         []string                              // files of profiles from other nodes, read once
	Share         Shared                                // where what questions read is written for the next push; nil: nowhere
	ShareEvery    time.Duration                         // at most so often; 0 means a minute
	LeaveAfter    time.Duration                         // unread for so long, what is not current leaves the cache; 0 means 72 h
	Origin        interface{ Stats() cache.GuardStats } // for Status; may be nil
	Log           zerolog.Logger
}

// GCPercent is what a process that serves a mount should give to
// debug.SetGCPercent: most of its heap are manifests and blobs, which hold no
// pointers, so collecting often costs little and saves as much memory as they take.
const GCPercent = 15

// FS answers the kernel's requests. Safe for concurrent use.
type FS struct {
	refuse
	cfg      Config
	state    *State
	ctx      context.Context // ends with Close; shared loads run on it
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	loads    singleflight.Group
	heads    *heads
	versions *versions
	profiles *profiles
	listings listings
	status   statusFiles
	chunks   lastChunks
	ops      opCounters
	uid, gid uint32
	started  time.Time
}

// New makes the tree; Serve or Mount gives it to a kernel.
func New(cfg Config) (*FS, error) {
	if cfg.Heads == nil || cfg.Cache == nil {
		return nil, errors.New("chunkfs: Heads and Cache are needed")
	}
	if cfg.Deadline <= 0 {
		cfg.Deadline = 10 * time.Second
	}
	if cfg.HeadTTL <= 0 {
		cfg.HeadTTL = time.Second
	}
	if cfg.ManifestBytes <= 0 {
		cfg.ManifestBytes = 64 << 20
	}
	if cfg.LeaveAfter <= 0 {
		cfg.LeaveAfter = 3 * forever
	}
	if cfg.ShareEvery <= 0 {
		cfg.ShareEvery = shareEvery
	}
	if cfg.State == nil {
		st, err := NewState()
		if err != nil {
			return nil, err
		}
		cfg.State = st
	}
	known, err := openProfiles(cfg.Profiles)
	if err != nil {
		return nil, err
	}
	for _, name := range cfg.Seeds {
		if err := known.learn(name); err != nil { // a mount that takes over must not fail for it
			cfg.Log.Warn().Err(err).Msg("beginning without another node's profiles")
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &FS{
		cfg: cfg, profiles: known, state: cfg.State, ctx: ctx, cancel: cancel,
		uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()), started: time.Now(),
	}
	f.heads = newHeads(f)
	f.versions = newVersions(f, cfg.ManifestBytes)
	f.wg.Go(f.warmHeads)
	f.wg.Go(f.keepProfiles)
	if cfg.Share != nil {
		f.wg.Go(f.shareProfiles)
	}
	f.wg.Go(f.leaveOldVersions)
	return f, nil
}

// Close ends what the tree does on its own. Requests under way fail with EIO.
func (f *FS) Close() {
	f.cancel()
	f.wg.Wait()
}

// once runs load for all callers of the same key, on a context that none of them
// can end. A caller that is being killed is let go.
func once[T any](ctx context.Context, f *FS, key string, load func(context.Context) (T, error)) (T, error) {
	ch := f.loads.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(f.ctx, f.cfg.Deadline) // so that a store that hung is soon asked anew
		defer cancel()
		return load(ctx)
	})
	killed, stop := dying(ctx)
	defer stop()
	var zero T
	select {
	case r := <-ch:
		v, _ := r.Val.(T)
		return v, r.Err
	case <-ctx.Done():
		return zero, context.Cause(ctx)
	case <-killed:
		return zero, errKilled
	}
}
