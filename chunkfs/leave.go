package chunkfs

import (
	"context"
	"fmt"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// Old versions leave the node in the background: blobs that nobody read for
// LeaveAfter go, unless a version needs them that a head names or that anybody
// looked at in that time. LeaveAfter is longer than the kernel believes anything
// without asking, so a version in use is never among those that leave.

func (f *FS) leaveOldVersions() {
	t := time.NewTicker(max(f.cfg.LeaveAfter/24, time.Second))
	defer t.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-t.C:
		}
		n, err := f.leave(f.ctx, time.Now().Add(-f.cfg.LeaveAfter))
		if err != nil && f.ctx.Err() == nil {
			f.cfg.Log.Warn().Err(err).Msg("old versions stay for now")
		} else if n > 0 {
			f.cfg.Log.Info().Int("blobs", n).Msg("old versions left")
		}
	}
}

// leave drops what nobody used since the given time and no living version needs.
func (f *FS) leave(ctx context.Context, since time.Time) (dropped int, err error) {
	keep := make(map[blob.Digest]bool)
	for _, n := range f.state.living(func(n uint32) bool { return f.versions.usedSince(n, since) }) {
		if err := f.needs(ctx, n, keep); err != nil {
			return 0, err
		}
	}
	return f.cfg.Cache.DropIdle(since, func(d blob.Digest) bool { return keep[d] }), nil
}

// needs adds what a version can read. A version whose manifest is not here has nothing here to lose.
func (f *FS) needs(ctx context.Context, n uint32, keep map[blob.Digest]bool) error {
	sl, ok := f.state.slot(n)
	if !ok {
		return fmt.Errorf("slot %d: %w", n, head.ErrNotFound)
	}
	keep[sl.manifest] = true
	v, ok := f.versions.loaded(n)
	if !ok {
		if !f.cfg.Cache.Has(sl.manifest) {
			return nil
		}
		b, err := f.cfg.Cache.Bytes(ctx, sl.manifest, 0)
		if err != nil {
			return err
		}
		m, err := manifest.Decode(b)
		if err != nil {
			return err
		}
		v = &version{Manifest: m}
	}
	for k := range v.Blobs() {
		ref := v.Blob(k)
		keep[ref.Digest] = true
		if ref.Kind != manifest.Blocks || !f.cfg.Cache.Has(ref.Digest) {
			continue
		}
		index, err := f.cfg.Cache.Bytes(ctx, ref.Digest, ref.Size)
		if err != nil {
			return err
		}
		for ; len(index) >= 32; index = index[32:] {
			keep[blob.Digest(index)] = true
		}
	}
	return nil
}
