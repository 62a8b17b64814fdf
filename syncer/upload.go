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

// uploader stores blobs in parallel, each once. Its goroutines last as long as it
// does: hashing wants a deep stack, which each new goroutine would have to grow.
type uploader struct {
	blobs blob.Store
	group *errgroup.Group
	ctx   context.Context // of the group: ends at the first failure
	room  *semaphore.Weighted
	queue chan upload
	wait  func() error // returns when every blob is stored, or with the first failure; nothing is put after it

	mu   sync.Mutex // guards seen
	seen map[blob.Digest]bool

	count atomic.Int64
	bytes atomic.Int64
}

type upload struct {
	d    blob.Digest
	b    []byte
	done func()
}

func newUploader(ctx context.Context, blobs blob.Store, workers int) *uploader {
	u := &uploader{
		blobs: blobs, room: semaphore.NewWeighted(inFlight), seen: map[blob.Digest]bool{},
		queue: make(chan upload, 4*workers),
	}
	u.group, u.ctx = errgroup.WithContext(ctx)
	for range workers {
		u.group.Go(func() error {
			for p := range u.queue {
				if err := u.store(p); err != nil {
					return err
				}
			}
			return nil
		})
	}
	u.wait = sync.OnceValue(func() error {
		close(u.queue)
		return u.group.Wait()
	})
	return u
}

// put stores b, which it then owns, unless the store has it. It waits for room;
// a failure shows here, in a later put, or in wait.
func (u *uploader) put(d blob.Digest, b []byte) error { return u.lend(d, b, func() {}) }

// lend is put of what the caller uses again once done was called.
func (u *uploader) lend(d blob.Digest, b []byte, done func()) error {
	u.mu.Lock()
	seen := u.seen[d]
	u.seen[d] = true
	u.mu.Unlock()
	if seen {
		done()
		return u.ctx.Err()
	}
	if u.room.Acquire(u.ctx, weight(b)) == nil {
		select {
		case u.queue <- upload{d, b, done}:
			return nil
		case <-u.ctx.Done():
		}
	}
	return context.Cause(u.ctx)
}

func weight(b []byte) int64 { return min(int64(len(b)), inFlight) }

func (u *uploader) store(p upload) error {
	defer u.room.Release(weight(p.b))
	there, err := u.blobs.Probe(u.ctx, []blob.Digest{p.d})
	if err != nil {
		return fmt.Errorf("ask the store for blob %s: %w", p.d, err)
	}
	if !there[0] {
		if err := u.blobs.Put(u.ctx, p.d, p.b); err != nil {
			return fmt.Errorf("store blob %s: %w", p.d, err)
		}
		u.count.Add(1)
		u.bytes.Add(int64(len(p.b)))
	}
	p.done()
	return nil
}
