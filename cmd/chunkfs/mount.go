package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"time"

	"github.com/prairielambda/prairielambda/chunkfs"
	"github.com/prairielambda/prairielambda/chunkfs/cache"
	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/internal/storage"
)

// mountFlags are the flags of mount; flagArgs spells them again for a child process.
type mountFlags struct {
	store      string
	cache      string
	size       cli.Size
	files      int64
	minFree    cli.Size
	deadline   cli.Duration
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
	fs.Var(&m.deadline, "deadline", "after which a read that waits for the store fails with EIO")
	fs.BoolVar(&m.background, "background", false, "return once the mount answers, and serve on")
	fs.StringVar(&m.logFile, "log-file", "", "where --background logs to (default: CACHE.log)")
}

func mountCommand() *cli.Command {
	var m mountFlags
	return &cli.Command{
		Name: "mount", Usage: "MOUNTPOINT", Short: "mount a store's courses",
		Long: `MOUNTPOINT/<course>/<version>/... is immutable; MOUNTPOINT/<course>/current is a link to the
version that the course's head names. MOUNTPOINT/.chunkfs/status tells how it fares.
Root mounts for all users; anybody else needs fusermount3 and mounts for themselves.
SIGTERM and SIGINT unmount.`,
		Flags: m.define,
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if len(args) != 1 || m.store == "" || m.cache == "" {
				return cli.Usagef("want --store URL --cache DIR MOUNTPOINT")
			}
			point, err := filepath.Abs(args[0])
			if err != nil {
				return fmt.Errorf("mount point: %w", err)
			}
			if m.cache, err = filepath.Abs(m.cache); err != nil {
				return fmt.Errorf("cache: %w", err)
			}
			if m.background {
				return m.startInBackground(ctx, env, point)
			}
			return m.serve(ctx, env, point)
		},
	}
}

// serve is the journey of a byte, from the store to the kernel.
func (m *mountFlags) serve(ctx context.Context, env *cli.Env, point string) error {
	store, err := storage.Open(ctx, m.store)
	if err != nil {
		return cli.WithCode(cli.ExitUnavailable, err)
	}
	defer store.Close()
	c, err := cache.Open(cache.Config{
		Dir: m.cache, Origin: store.Blobs, MaxBytes: int64(m.size), MaxFiles: m.files, MinFreeBytes: int64(m.minFree), Log: env.Log,
	})
	if err != nil {
		return err
	}
	defer c.Close()
	fs, err := chunkfs.New(chunkfs.Config{Heads: store.Heads, Cache: c, Deadline: time.Duration(m.deadline), Log: env.Log})
	if err != nil {
		return err
	}
	defer fs.Close()
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
