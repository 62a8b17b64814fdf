package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// ErrInUse says that another process holds the cache's directory.
var ErrInUse = errors.New("in use by another process")

// ErrClosed says that the cache was closed.
var ErrClosed = errors.New("cache is closed")

// maxPending bounds the memory of blobs that wait for a slow disk; past it they
// are served and not stored.
const maxPending = 64 << 20

// flight is one blob on its way. It stays joinable after it was answered until
// the disk has the bytes, so that nobody fetches them twice in between.
type flight struct {
	done chan struct{}
	data []byte // set before done is closed
	err  error
}

func (c *Cache) join(d blob.Digest, size int64) (*flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.flights[d]; ok {
		return f, nil
	}
	if c.closed {
		return nil, ErrClosed
	}
	f := &flight{done: make(chan struct{})}
	c.flights[d] = f
	c.wg.Go(func() { c.fly(f, d, size) })
	return f, nil
}

func (c *Cache) land(d blob.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, d)
}

func (c *Cache) fly(f *flight, d blob.Digest, size int64) {
	sick := c.health.sick()
	if !sick && c.landFromDisk(f, d) {
		return
	}
	// Room is taken before the GET, so that a burst of misses cannot overrun the cap.
	room, ok := c.reserveIfKnown(size)
	defer func() { room.release() }()
	data, err := c.fromOrigin(d)
	if err != nil && sick && c.landFromDisk(f, d) {
		return
	}
	if err != nil {
		c.land(d)
		f.err = err
		close(f.done)
		return
	}
	c.memory.put(d, data)
	f.data = data
	close(f.done) // answered; what follows is for the next reader
	defer c.land(d)
	if sick || !c.startWrite(len(data)) {
		return
	}
	defer c.endWrite(len(data))
	if !ok || int64(len(data)) != size {
		room.release()
		if room, ok = c.reserve(int64(len(data))); !ok {
			c.stats.uncached.Add(1)
			return
		}
	}
	c.store(d, data, room)
}

// landFromDisk answers a flight from the disk, if it can.
func (c *Cache) landFromDisk(f *flight, d blob.Digest) bool {
	data, ok := c.fromDisk(d)
	if !ok {
		return false
	}
	c.stats.diskHits.Add(1)
	c.memory.put(d, data)
	c.land(d)
	f.data = data
	close(f.done)
	return true
}

// fromDisk reads and verifies a whole blob; anything wrong with it is a miss.
func (c *Cache) fromDisk(d blob.Digest) ([]byte, bool) {
	done, ok := c.acquire(d)
	if !ok {
		return nil, false
	}
	var data []byte
	err := c.timed(func() (err error) { data, err = c.disk.read(d); return err })
	done()
	if err != nil || blob.Sum(data) != d {
		c.quarantine(d, err)
		return nil, false
	}
	return data, true
}

func (c *Cache) fromOrigin(d blob.Digest) ([]byte, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.FetchTimeout)
	defer cancel()
	c.stats.misses.Add(1)
	start := time.Now()
	data, err := c.fetchVerified(ctx, d)
	var corrupt *blob.CorruptError
	if errors.As(err, &corrupt) { // bytes may have been hurt on the way only
		c.stats.failures.Add(1)
		data, err = c.fetchVerified(ctx, d)
	}
	if err != nil {
		c.stats.failures.Add(1)
		return nil, fmt.Errorf("fetch blob %s: %w", d, err)
	}
	c.stats.fetched(len(data), time.Since(start))
	return data, nil
}

func (c *Cache) fetchVerified(ctx context.Context, d blob.Digest) ([]byte, error) {
	data, err := c.cfg.Origin.Fetch(ctx, d)
	if err == nil && blob.Sum(data) != d {
		err = &blob.CorruptError{Digest: d, Reason: "the origin answered other bytes"}
	}
	return data, err
}

func (c *Cache) startWrite(n int) bool {
	if !c.usageKnown() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending+int64(n) > maxPending && c.pending > 0 {
		return false
	}
	c.pending += int64(n)
	return true
}

func (c *Cache) endWrite(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending -= int64(n)
}

// store writes one verified blob. On a full disk it evicts once and tries again.
func (c *Cache) store(d blob.Digest, data []byte, room *reservation) {
	if !c.index.begin(d) {
		return // there already, or on its way out
	}
	allocated, err := c.disk.write(d, data)
	if isNoSpace(err) {
		c.evictBytes(max(2*int64(len(data)), c.cfg.MaxBytes/16))
		allocated, err = c.disk.write(d, data)
	}
	if err != nil {
		c.index.abort(d)
		c.stats.diskErrors.Add(1)
		c.cfg.Log.Warn().Err(err).Stringer("blob", d).Msg("cache write failed; served from memory")
		return
	}
	c.index.commit(d, allocated, c.disk.overhead())
	room.release()
	if c.index.above(highWater) {
		select {
		case c.shrink <- struct{}{}:
		default:
		}
	}
}
