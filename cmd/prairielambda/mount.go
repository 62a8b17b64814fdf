package main

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"github.com/prairielambda/prairielambda/chunkfs"
	"github.com/prairielambda/prairielambda/chunkfs/cache"
	"github.com/prairielambda/prairielambda/internal/storage"
)

// headTTL is short, so that `current` follows an edit before anybody can look.
const headTTL = 20 * time.Millisecond

// mountChild serves the mount. It executes nothing: a fork would share the
// device, and whoever waits for this process would wait for itself.
func mountChild(ctx context.Context, cfg childConfig, log zerolog.Logger, ready func(childReady)) (err error) {
	store, err := storage.Open(ctx, cfg.Store)
	if err != nil {
		return err
	}
	defer store.Close()
	blobs, err := cache.Open(cache.Config{Dir: cfg.Cache, Origin: store.Blobs, MaxBytes: 4 << 30, MaxFiles: 1 << 20, Log: log})
	if err != nil {
		return err
	}
	defer blobs.Close()
	fs, err := chunkfs.New(chunkfs.Config{Heads: store.Heads, Cache: blobs, HeadTTL: headTTL, Log: log})
	if err != nil {
		return err
	}
	defer fs.Close()
	mnt, err := fs.Mount(ctx, cfg.Point)
	if err != nil {
		return err
	}
	ready(childReady{})
	select {
	case <-mnt.Done():
		return errors.New("the mount was taken away by somebody else")
	case <-ctx.Done():
		return mnt.Unmount(context.WithoutCancel(ctx), 5*time.Second)
	}
}
