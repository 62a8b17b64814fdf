package cache

import (
	"sync/atomic"
	"time"
)

type stats struct {
	memoryHits, diskHits, misses, failures atomic.Int64
	fetches, fetchedBytes, fetchNanos      atomic.Int64
	fetchBuckets                           [len(fetchBounds)]atomic.Int64 // cumulative
	uncached, evictions, evictedBytes      atomic.Int64
	quarantined, diskErrors, prefetches    atomic.Int64
}

// fetchBounds are the upper bounds of the latency histogram, in seconds.
var fetchBounds = [...]float64{.001, .003, .01, .03, .1, .3, 1, 3, 10}

func (s *stats) fetched(n int, took time.Duration) {
	s.fetches.Add(1)
	for i, b := range fetchBounds {
		if took.Seconds() <= b {
			s.fetchBuckets[i].Add(1)
		}
	}
	s.fetchedBytes.Add(int64(n))
	s.fetchNanos.Add(int64(took))
}

// Stats is what a Cache did since it was opened, and what it holds now.
type Stats struct {
	MemoryHits   int64              `json:"memory_hits"`
	DiskHits     int64              `json:"disk_hits"`
	Misses       int64              `json:"misses"`   // fetches from the origin
	Failures     int64              `json:"failures"` // fetches that failed
	Prefetches   int64              `json:"prefetches"`
	Fetches      int64              `json:"fetches"` // that succeeded
	FetchedBytes int64              `json:"fetched_bytes"`
	FetchSeconds float64            `json:"fetch_seconds"`
	FetchBuckets map[float64]uint64 `json:"-"`        // fetches that took up to so many seconds
	Uncached     int64              `json:"uncached"` // blobs served that did not fit
	Evictions    int64              `json:"evictions"`
	EvictedBytes int64              `json:"evicted_bytes"`
	Quarantined  int64              `json:"quarantined"`
	DiskErrors   int64              `json:"disk_errors"`

	Bytes       int64 `json:"bytes"`    // allocated on disk now
	Reserved    int64 `json:"reserved"` // taken for files on their way
	MaxBytes    int64 `json:"max_bytes"`
	Files       int64 `json:"files"`
	MaxFiles    int64 `json:"max_files"`
	MemoryBytes int64 `json:"memory_bytes"`
	Scanning    bool  `json:"scanning"`
}

// Stats takes a snapshot; its fields are each right, though not of one instant.
func (c *Cache) Stats() Stats {
	bytes, files, reserved := c.index.usage()
	s := &c.stats
	buckets := make(map[float64]uint64, len(fetchBounds))
	for i, b := range fetchBounds {
		buckets[b] = uint64(s.fetchBuckets[i].Load())
	}
	return Stats{
		MemoryHits: s.memoryHits.Load(), DiskHits: s.diskHits.Load(), Misses: s.misses.Load(), Failures: s.failures.Load(), Prefetches: s.prefetches.Load(),
		Fetches: s.fetches.Load(), FetchBuckets: buckets, FetchedBytes: s.fetchedBytes.Load(), FetchSeconds: time.Duration(s.fetchNanos.Load()).Seconds(),
		Uncached: s.uncached.Load(), Evictions: s.evictions.Load(), EvictedBytes: s.evictedBytes.Load(),
		Quarantined: s.quarantined.Load(), DiskErrors: s.diskErrors.Load(),
		Bytes: bytes, Reserved: reserved, MaxBytes: c.cfg.MaxBytes, Files: files, MaxFiles: c.cfg.MaxFiles,
		MemoryBytes: c.memory.size(), Scanning: !c.usageKnown(),
	}
}
