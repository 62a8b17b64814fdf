package syncer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// inFlight bounds the bytes of blobs that wait to be stored.
const inFlight = 32 << 20

// uploader stores blobs in parallel, each once.
type uploader struct {
	blobs blob.Store
	group *errgroup.Group
	ctx   context.Context // of the group: ends at the first failure
	room  *semaphore.Weighted

	mu   sync.Mutex // guards seen
	seen map[blob.Digest]bool

	count atomic.Int64
	bytes atomic.Int64
}

func newUploader(ctx context.Context, blobs blob.Store, workers int) *uploader {
	u := &uploader{blobs: blobs, room: semaphore.NewWeighted(inFlight), seen: map[blob.Digest]bool{}}
	u.group, u.ctx = errgroup.WithContext(ctx)
	u.group.SetLimit(workers)
	return u
}

// put stores b, which it then owns, unless the store has it. It waits for room;
// a failure shows here, in a later put, or in wait.
func (u *uploader) put(d blob.Digest, b []byte) error {
	u.mu.Lock()
	seen := u.seen[d]
	u.seen[d] = true
	u.mu.Unlock()
	if seen {
		return u.ctx.Err()
	}
	size := min(int64(len(b)), inFlight)
	if err := u.room.Acquire(u.ctx, size); err != nil {
		return u.wait()
	}
	u.group.Go(func() error {
		defer u.room.Release(size)
		there, err := u.blobs.Probe(u.ctx, []blob.Digest{d})
		if err != nil {
			return fmt.Errorf("ask the store for blob %s: %w", d, err)
		}
		if there[0] {
			return nil
		}
		if err := u.blobs.Put(u.ctx, d, b); err != nil {
			return fmt.Errorf("store blob %s: %w", d, err)
		}
		u.count.Add(1)
		u.bytes.Add(int64(len(b)))
		return nil
	})
	return nil
}

// wait returns when every blob is stored, or with the first failure.
func (u *uploader) wait() error { return u.group.Wait() }
