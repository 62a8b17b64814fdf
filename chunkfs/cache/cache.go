// Package cache is the bounded copy of blobs on a node's disk.
//
// It guarantees that every byte it hands out was compared with a digest after
// it crossed the wire or the disk, at each use and not only at the first; that
// what du counts below its directory never passes MaxBytes; that one blob is
// fetched once however many readers wait for it, and that no reader who gives
// up ends the fetch for the others; that it answers from memory before the disk
// has the bytes, and before its start-up scan has ended; and that a full, slow
// or failing disk costs speed, never a right answer.
//
// It refuses to share its directory with a second process, and to keep a blob
// that does not fit: such a blob is served from memory and forgotten.
//
// Nothing in the directory needs to survive a crash: files are written beside
// and renamed, without fsync, because a torn file fails its digest and is fetched again.
package cache

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/rs/zerolog"
)

// Config says where a Cache lives and how large it may get. Only Dir and Origin are needed.
type Config struct {
	Dir    string       // created if absent; held by one process at a time
	Origin blob.Fetcher // asked for what is not here; its answers are verified again

	MaxBytes      int64         // hard cap in allocated bytes, directories included; 0 means 10 GiB
	MaxFiles      int64         // hard cap in inodes; 0 means 1 Mi
	MinFreeBytes  int64         // of the disk, left to others
	MinFreeFiles  int64         // inodes of the disk, left to others
	MemoryBytes   int64         // verified blobs kept in memory; 0 means 8 MiB
	FetchTimeout  time.Duration // of one fetch, whoever waits for it; 0 means 60 s
	Parallel      int           // disk writes and prefetches at once; 0 means 16
	Log           zerolog.Logger
	beforeScan    func() // tests hold the scan back
	faultsForTest *faults
}

// Cache is safe for concurrent use.
type Cache struct {
	cfg    Config
	disk   *disk
	index  *index
	memory *memory
	lock   *flock.Flock
	stats  stats
	health health

	ctx     context.Context // ends with Close; fetches run on it, not on a reader's
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	scanned chan struct{} // closed when usage is known, and so writing may begin
	shrink  chan struct{} // wakes the evictor

	mu      sync.Mutex // guards flights, closed and pending
	flights map[blob.Digest]*flight
	closed  bool
	pending int64 // bytes that were answered from memory and wait for the disk
	ahead   int   // flights that nobody asked for yet
}

// Open takes the directory for this process and starts the scan of what it holds.
func Open(cfg Config) (*Cache, error) {
	setDefaults(&cfg)
	if err := os.MkdirAll(filepath.Join(cfg.Dir, blobsDir), 0o700); err != nil {
		return nil, fmt.Errorf("create cache: %w", err)
	}
	lock := flock.New(filepath.Join(cfg.Dir, "lock"))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock cache %s: %w", cfg.Dir, err)
	}
	if !ok {
		return nil, fmt.Errorf("cache %s: %w", cfg.Dir, ErrInUse)
	}
	dsk, err := openDisk(cfg.Dir, cfg.faultsForTest)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Cache{
		cfg: cfg, disk: dsk, lock: lock, ctx: ctx, cancel: cancel,
		index:   newIndex(limits{bytes: cfg.MaxBytes, files: cfg.MaxFiles}),
		memory:  newMemory(cfg.MemoryBytes),
		flights: make(map[blob.Digest]*flight),
		scanned: make(chan struct{}),
		shrink:  make(chan struct{}, 1),
	}
	c.index.setOverhead(dsk.overhead())
	c.wg.Go(c.scan)
	c.wg.Go(c.keepBelowWatermark)
	return c, nil
}

func setDefaults(cfg *Config) {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 10 << 30
	}
	if cfg.MaxFiles <= 0 {
		cfg.MaxFiles = 1 << 20
	}
	if cfg.MemoryBytes <= 0 {
		cfg.MemoryBytes = 8 << 20
	}
	if cfg.FetchTimeout <= 0 {
		cfg.FetchTimeout = 60 * time.Second
	}
	if cfg.Parallel <= 0 {
		cfg.Parallel = 16
	}
}

// Close ends fetches and writes, waits for them and gives the directory free.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
	c.disk.close()
	if err := c.lock.Unlock(); err != nil {
		return fmt.Errorf("unlock cache: %w", err)
	}
	return nil
}

// Bytes returns the blob's verified bytes, which the caller must not change.
// size is the blob's size where the caller knows it, to reserve room before the
// fetch, and 0 where not. An error of ctx means only that the caller gave up.
func (c *Cache) Bytes(ctx context.Context, d blob.Digest, size int64) ([]byte, error) {
	if b, ok := c.memory.get(d); ok {
		c.stats.memoryHits.Add(1)
		return b, nil
	}
	f, err := c.join(d, size)
	if err != nil {
		return nil, err
	}
	select {
	case <-f.done:
		return f.data, f.err
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for blob %s: %w", d, context.Cause(ctx))
	}
}

// ReadPart fills p with the blob's bytes from off on; they must hash to part.
// A part that is on disk is read and verified alone, without the rest of its blob.
func (c *Cache) ReadPart(ctx context.Context, d blob.Digest, size int64, part blob.Digest, off int64, p []byte) error {
	if b, ok := c.memory.get(d); ok {
		c.stats.memoryHits.Add(1)
		return copyPart(d, b, part, off, p)
	}
	if !c.health.sick() && c.partFromDisk(d, part, off, p) {
		return nil
	}
	b, err := c.Bytes(ctx, d, size)
	if err != nil {
		return err
	}
	return copyPart(d, b, part, off, p)
}

// partFromDisk reads and verifies a part; anything wrong with it is a miss.
func (c *Cache) partFromDisk(d, part blob.Digest, off int64, p []byte) bool {
	done, ok := c.acquire(d)
	if !ok {
		return false
	}
	err := c.timed(func() error { return c.disk.readAt(d, p, off) })
	done()
	if err != nil || blob.Sum(p) != part {
		c.quarantine(d, err)
		return false
	}
	c.stats.diskHits.Add(1)
	return true
}

func copyPart(d blob.Digest, b []byte, part blob.Digest, off int64, p []byte) error {
	if off < 0 || off+int64(len(p)) > int64(len(b)) {
		return &blob.CorruptError{Digest: d, Reason: fmt.Sprintf("%d bytes, but a part lies at %d to %d", len(b), off, off+int64(len(p)))}
	}
	copy(p, b[off:])
	if blob.Sum(p) != part {
		return &blob.CorruptError{Digest: d, Reason: fmt.Sprintf("the part at %d is not %s", off, part)}
	}
	return nil
}

// Prefetch starts to fetch a blob that is not here, and does not wait. It does
// nothing while too many such fetches are under way.
func (c *Cache) Prefetch(d blob.Digest, size int64) {
	if c.Has(d) {
		return
	}
	c.mu.Lock()
	full := c.ahead >= maxAhead
	c.mu.Unlock()
	if full {
		return
	}
	f, err := c.join(d, size)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.ahead++
	c.stats.prefetches.Add(1)
	c.wg.Go(func() {
		<-f.done
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ahead--
	})
}

// maxAhead is how many prefetches may be under way.
const maxAhead = 64

// Has reports whether a read of d would start without asking the origin.
func (c *Cache) Has(d blob.Digest) bool {
	if c.memory.has(d) {
		return true
	}
	done, ok := c.acquire(d)
	if ok {
		done()
	}
	return ok
}

// Ready is closed when the start-up scan has ended; until then nothing is written.
func (c *Cache) Ready() <-chan struct{} { return c.scanned }
