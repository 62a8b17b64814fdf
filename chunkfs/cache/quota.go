package cache

import (
	"fmt"
	"os"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// slack is what a file can cost beyond its rounded-up size: a block for its
// extent tree, and one by which its directory may grow.
const slack = 2 * blockSize

const blockSize = 4096

// reservation is room under the cap that belongs to one file that is not there yet.
type reservation struct {
	index *index
	bytes int64
}

func (r *reservation) release() {
	if r != nil && r.index != nil {
		r.index.unreserve(r.bytes)
		r.index = nil
	}
}

func (c *Cache) reserveIfKnown(size int64) (*reservation, bool) {
	if size <= 0 {
		return nil, false
	}
	return c.reserve(size)
}

// reserve makes room for one file of size bytes, evicting what it must. It
// fails when the file cannot fit beside what is pinned or reserved.
func (c *Cache) reserve(size int64) (*reservation, bool) {
	need := (size+blockSize-1)/blockSize*blockSize + slack
	if need > c.cfg.MaxBytes || !c.usageKnown() {
		return nil, false
	}
	for !c.disk.free(need, c.cfg.MinFreeBytes, c.cfg.MinFreeFiles) || !c.index.reserve(need) {
		if !c.evictOne() {
			return nil, false
		}
	}
	return &reservation{c.index, need}, true
}

// usageKnown says that the start-up scan has ended; before that the cap could
// not be kept, so nothing is written and nothing evicted.
func (c *Cache) usageKnown() bool {
	select {
	case <-c.scanned:
		return true
	default:
		return false
	}
}

func (c *Cache) evictOne() bool { return c.evict(c.index.victim()) }

func (c *Cache) evict(e *entry) bool {
	if e == nil {
		return false
	}
	c.disk.remove(e.name())
	c.index.forget(e)
	c.stats.evictions.Add(1)
	c.stats.evictedBytes.Add(e.bytes)
	return true
}

// DropIdle evicts what nobody used since then and keep does not claim, and
// returns how many files that were.
func (c *Cache) DropIdle(since time.Time, keep func(blob.Digest) bool) (n int) {
	for c.usageKnown() && c.evict(c.index.idle(since.Unix(), keep)) {
		n++
	}
	return n
}

func (c *Cache) evictBytes(n int64) {
	before := c.stats.evictedBytes.Load()
	for c.stats.evictedBytes.Load()-before < n && c.evictOne() {
	}
}

func (c *Cache) keepBelowWatermark() {
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.shrink:
		}
		for c.index.above(lowWater) && c.ctx.Err() == nil && c.evictOne() {
		}
	}
}

// acquire is index.acquire that, while the scan runs, also looks at the disk.
func (c *Cache) acquire(d blob.Digest) (done func(), ok bool) {
	if _, done, ok = c.index.acquire(d); ok {
		return done, true
	}
	if c.usageKnown() {
		return nil, false
	}
	allocated, ok := c.disk.stat(d)
	if !ok {
		return nil, false
	}
	c.index.adopt(d, allocated, "", false)
	_, done, ok = c.index.acquire(d)
	return done, ok
}

// quarantine sets a file aside whose bytes were wrong or unreadable; the next
// reader fetches the blob again. A few bad copies stay, first in line for eviction, for whoever asks why.
func (c *Cache) quarantine(d blob.Digest, readErr error) {
	e, keep, ok := c.index.condemn(d)
	if !ok {
		return
	}
	n := c.stats.quarantined.Add(1)
	c.cfg.Log.Warn().AnErr("error", readErr).Stringer("blob", d).Msg("cache file is not what it was; fetching it again")
	name := d.String()
	if keep {
		name += fmt.Sprintf(".%d-%d%s", os.Getpid(), n, badSuffix)
	}
	allocated, ok := c.disk.setAside(d, name)
	c.index.forget(e)
	if ok {
		c.index.adopt(d, allocated, name, true)
	}
}
