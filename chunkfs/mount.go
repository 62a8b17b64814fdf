package chunkfs

import (
	"context"
	"os"
	"sync"
	"time"
)

// Mount is a filesystem that this process serves and that ends with it. The
// commands serve through package holder instead, which outlives the server.
type Mount struct {
	point string
	dev   *os.File
	done  chan struct{} // closed when the kernel has let go
	once  sync.Once
}

// Mount attaches f at mountpoint and serves it. This process must not touch the mount.
func (f *FS) Mount(ctx context.Context, mountpoint string) (*Mount, error) {
	dev, err := Attach(ctx, mountpoint)
	if err != nil {
		return nil, err
	}
	init, err := Handshake(dev)
	if err != nil {
		dev.Close()
		_, _ = Detach(ctx, mountpoint)
		return nil, err
	}
	m := &Mount{point: mountpoint, dev: dev, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		if err := f.Serve(dev, init, false, nil); err != nil {
			f.cfg.Log.Error().Err(err).Msg("mount failed")
		}
	}()
	return m, nil
}

// Done is closed when the mount is gone, by Unmount or by anybody's umount.
func (m *Mount) Done() <-chan struct{} { return m.done }

// Unmount takes the mount out of the tree and waits up to a while for those
// who still use it; then they lose it.
func (m *Mount) Unmount(ctx context.Context, wait time.Duration) (err error) {
	m.once.Do(func() {
		if _, err = Detach(ctx, m.point); err != nil {
			return
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-m.done:
			err = m.dev.Close()
		case <-t.C: // still being read from: the end of this process closes it
		case <-ctx.Done():
		}
	})
	return err
}
