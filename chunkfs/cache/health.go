package cache

import (
	"sync/atomic"
	"time"
)

// A disk that answers late is worse than a store that answers at all. So after
// one late read the disk is passed over for a while: the store is asked first,
// the disk only where the store fails, and nothing is written.

const (
	lateRead  = time.Second
	diskPause = 30 * time.Second
)

// health is when the disk may be trusted with readers again.
type health struct{ until atomic.Int64 }

func (h *health) sick() bool { return time.Now().UnixNano() < h.until.Load() }

// timed runs one read of the disk and judges it.
func (c *Cache) timed(read func() error) error {
	start := time.Now()
	err := read()
	if took := time.Since(start); took >= lateRead {
		c.stats.diskErrors.Add(1)
		c.health.until.Store(time.Now().Add(diskPause).UnixNano())
		c.cfg.Log.Warn().Dur("took", took).Msg("cache disk is slow; asking the store first for a while")
	}
	return err
}
