package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prairielambda/prairielambda/chunkfs"
	"github.com/prairielambda/prairielambda/chunkfs/cache"
	"github.com/prairielambda/prairielambda/chunkfs/holder"
	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/rs/zerolog"
)

// mountFlags are the flags of mount; args spells them again for a child process.
type mountFlags struct {
	store      string
	cache      string
	size       cli.Size
	files      int64
	minFree    cli.Size
	minFiles   int64
	deadline   cli.Duration
	metrics    string
	profiles   string
	share      bool
	plain      bool
	background bool
	logFile    string
}

func (m *mountFlags) define(fs *flag.FlagSet) {
	m.size, m.deadline = 10<<30, cli.Duration(10*time.Second)
	fs.StringVar(&m.store, "store", "", "URL of the store: dir:///path or gs://bucket/prefix")
	fs.StringVar(&m.cache, "cache", "", "directory of the cache; one mount at a time uses it")
	fs.Var(&m.size, "cache-size", "hard cap of the cache, in allocated bytes")
	fs.Int64Var(&m.files, "cache-files", 1<<20, "hard cap of the cache, in files")
	fs.Var(&m.minFree, "min-free", "bytes of the cache's disk to leave free")
	fs.Int64Var(&m.minFiles, "min-free-files", 0, "inodes of the cache's disk to leave free")
	fs.Var(&m.deadline, "deadline", "after which a read that waits for the store fails with EIO")
	fs.StringVar(&m.metrics, "metrics", "", "address to serve Prometheus metrics on, such as 127.0.0.1:9100")
	fs.StringVar(&m.profiles, "profiles", "", "file of another node's MOUNTPOINT/.chunkfs/profiles.json, to begin with what it learned")
	fs.BoolVar(&m.share, "share-profiles", true, "write what questions are seen to read into the store, for the next push; a store that refuses is left alone")
	fs.BoolVar(&m.plain, "no-holder", false, "one process, with which the mount ends")
	fs.BoolVar(&m.background, "background", false, "return once the mount answers, and serve on")
	fs.StringVar(&m.logFile, "log-file", "", "where --background logs to (default: CACHE.log)")
}

// args are the same flags for a child, made absolute.
func (m *mountFlags) args(level zerolog.Level) []string {
	return []string{
		"--store", m.store, "--cache", m.cache, "--cache-size", m.size.String(), "--cache-files", strconv.FormatInt(m.files, 10),
		"--min-free", m.minFree.String(), "--min-free-files", strconv.FormatInt(m.minFiles, 10), "--deadline", m.deadline.String(), "--metrics", m.metrics, "--profiles", m.profiles,
		"--share-profiles=" + strconv.FormatBool(m.share), "--no-holder=" + strconv.FormatBool(m.plain), "--background=false", "--log-level", level.String(),
	}
}

func mountCommand() *cli.Command {
	var m mountFlags
	return &cli.Command{
		Name: "mount", Usage: "MOUNTPOINT", Short: "mount a store's courses",
		Long: `MOUNTPOINT is made when it does not exist. MOUNTPOINT/<course>/<version>/... is immutable; MOUNTPOINT/<course>/current is a link to the
version that the course's head names. MOUNTPOINT/.chunkfs/status tells how it fares.
Root mounts for all users; anybody else needs fusermount3 and mounts for themselves.

This process only holds the mount; a second one serves it. Readers survive the
death of the second, and SIGHUP replaces it with one from the binary as it is now.
SIGTERM and SIGINT unmount.`,
		Flags: m.define,
		Run: func(ctx context.Context, env *cli.Env, args []string) (err error) {
			if len(args) != 1 || m.store == "" || m.cache == "" {
				return cli.Usagef("want --store URL --cache DIR MOUNTPOINT")
			}
			point, err := filepath.Abs(args[0])
			if err != nil {
				return fmt.Errorf("mount point: %w", err)
			}
			if _, err := os.Lstat(point); errors.Is(err, fs.ErrNotExist) {
				if err := os.MkdirAll(point, 0o755); err != nil {
					return fmt.Errorf("mount point: %w", err)
				}
			}
			if m.cache, err = filepath.Abs(m.cache); err != nil {
				return fmt.Errorf("cache: %w", err)
			}
			if m.profiles != "" {
				if m.profiles, err = filepath.Abs(m.profiles); err != nil {
					return fmt.Errorf("profiles: %w", err)
				}
			}
			switch {
			case m.background:
				return m.startInBackground(ctx, env, point)
			case m.plain:
				return m.serveHere(ctx, env, point)
			case !holder.Supported():
				env.Log.Warn().Msg("this kernel is older than 6.9: the mount will end with its process")
				return m.serveHere(ctx, env, point)
			}
			store, err := openStore(ctx, m.store, env.Log, false) // say now that it cannot be opened
			if err != nil {
				return cli.WithCode(cli.ExitUnavailable, err)
			}
			store.Close()
			return m.hold(ctx, env, point)
		},
	}
}

// open is the journey of a byte, from the store to the kernel.
func (m *mountFlags) open(ctx context.Context, env *cli.Env, state *chunkfs.State) (*chunkfs.FS, func(), error) {
	debug.SetGCPercent(chunkfs.GCPercent)
	store, err := openStore(ctx, m.store, env.Log, state != nil)
	if err != nil {
		return nil, nil, cli.WithCode(cli.ExitUnavailable, err)
	}
	origin := cache.NewGuard(store, cache.GuardConfig{SlowAfter: time.Duration(m.deadline) / 3, Log: env.Log})
	c, err := cache.Open(cache.Config{
		Dir: m.cache, Origin: origin, MaxBytes: int64(m.size), MaxFiles: m.files, MinFreeBytes: int64(m.minFree), MinFreeFiles: m.minFiles, Log: env.Log,
	})
	if err != nil {
		store.Close()
		return nil, nil, err
	}
	var seeds []string
	if m.profiles != "" {
		seeds = []string{m.profiles}
	}
	var share chunkfs.Shared
	if m.share {
		share = store
	}
	fs, err := chunkfs.New(chunkfs.Config{
		Heads: store, Cache: c, State: state, Deadline: time.Duration(m.deadline),
		Profiles: filepath.Join(m.cache, "profiles.json"), Seeds: seeds, Share: share, Origin: origin, Log: env.Log,
	})
	if err != nil {
		c.Close()
		store.Close()
		return nil, nil, err
	}
	metrics, err := serveMetrics(m.metrics, fs, env.Log)
	if err != nil { // a predecessor's port may linger; the mount matters more
		env.Log.Error().Err(err).Msg("no metrics")
		metrics = func() {}
	}
	return fs, func() { metrics(); fs.Close(); c.Close(); store.Close() }, nil
}

// serveHere mounts and serves in this one process.
func (m *mountFlags) serveHere(ctx context.Context, env *cli.Env, point string) error {
	fs, done, err := m.open(ctx, env, nil)
	if err != nil {
		return err
	}
	defer done()
	mnt, err := fs.Mount(ctx, point)
	if err != nil {
		return err
	}
	env.Log.Info().Str("mountpoint", point).Str("store", m.store).Msg("mounted")
	tellReady()
	select {
	case <-mnt.Done():
		env.Log.Info().Msg("unmounted by somebody else")
		return nil
	case <-ctx.Done():
	}
	env.Log.Info().Msg("unmounting")
	return mnt.Unmount(context.WithoutCancel(ctx), unmountWait)
}

// unmountWait is how long those who still use a mount may go on after SIGTERM.
const unmountWait = 10 * time.Second
