package cache

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// origin holds blobs in memory and counts what it is asked; hold, if set, keeps answers back.
type origin struct {
	mu      sync.Mutex // guards blobs
	blobs   map[blob.Digest][]byte
	fetches atomic.Int64
	hold    chan struct{}
	fail    atomic.Pointer[error]
}

func (o *origin) Fetch(ctx context.Context, d blob.Digest) ([]byte, error) {
	o.fetches.Add(1)
	if o.hold != nil {
		select {
		case <-o.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := o.fail.Load(); err != nil {
		return nil, *err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	b, ok := o.blobs[d]
	if !ok {
		return nil, blob.ErrNotFound
	}
	return append([]byte(nil), b...), nil
}

func (o *origin) add(n int) blob.Digest {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), o.count()))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	d := blob.Sum(b)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.blobs == nil {
		o.blobs = make(map[blob.Digest][]byte)
	}
	o.blobs[d] = b
	return d
}

func (o *origin) count() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return uint64(len(o.blobs))
}

func open(t *testing.T, o *origin, change func(*Config)) *Cache {
	t.Helper()
	cfg := Config{Dir: t.TempDir(), Origin: o, Log: zerolog.Nop()}
	if change != nil {
		change(&cfg)
	}
	c, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func ready(c *Cache) { <-c.Ready() }

// settled waits for the writes that follow an answer.
func settled(t *testing.T, c *Cache) {
	t.Helper()
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.flights) == 0
	}, time.Minute, time.Millisecond)
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOneFetchForManyReadersAndRestarts(t *testing.T) {
	o := &origin{}
	d := o.add(100_000)
	dir := t.TempDir()
	c := open(t, o, func(c *Config) { c.Dir = dir })
	ready(c)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			b, err := c.Bytes(t.Context(), d, 100_000)
			if err != nil || blob.Sum(b) != d {
				t.Error(len(b), err)
			}
		})
	}
	wg.Wait()
	require.NoError(t, c.Close())
	require.EqualValues(t, 1, o.fetches.Load())

	c = open(t, o, func(c *Config) { c.Dir = dir })
	b, err := c.Bytes(t.Context(), d, 100_000)
	require.NoError(t, err)
	require.Equal(t, o.blobs[d], b)
	require.EqualValues(t, 1, o.fetches.Load(), "a restart keeps the cache")
}

func TestAReaderWhoGivesUpDoesNotEndTheFetch(t *testing.T) {
	o := &origin{hold: make(chan struct{})}
	d := o.add(5000)
	c := open(t, o, nil)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { _, err := c.Bytes(ctx, d, 5000); gone <- err }()
	require.Eventually(t, func() bool { return o.fetches.Load() == 1 }, time.Minute, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-gone, context.Canceled)
	close(o.hold)
	b, err := c.Bytes(t.Context(), d, 5000)
	require.NoError(t, err)
	require.Len(t, b, 5000)
	require.EqualValues(t, 1, o.fetches.Load())
}

func TestAnswersBeforeTheDiskHasTheBytes(t *testing.T) {
	o := &origin{}
	d := o.add(5000)
	block := make(chan struct{})
	c := open(t, o, func(c *Config) {
		c.faultsForTest = &faults{write: func(string) error { <-block; return nil }}
		c.MemoryBytes = 1 // the memory tier alone would forget it
	})
	ready(c)
	for range 2 {
		_, err := c.Bytes(t.Context(), d, 5000)
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, o.fetches.Load(), "joinable until the disk has it")
	close(block)
	settled(t, c)
	require.True(t, c.Has(d))
}

func TestAFlippedByteIsNeverServed(t *testing.T) {
	o := &origin{}
	d := o.add(40_000)
	part := blob.Sum(o.blobs[d][1000:9000])
	c := open(t, o, func(c *Config) { c.MemoryBytes = 1 })
	ready(c)
	read := func() {
		t.Helper()
		p := make([]byte, 8000)
		require.NoError(t, c.ReadPart(t.Context(), d, 40_000, part, 1000, p))
		require.Equal(t, o.blobs[d][1000:9000], p)
		settled(t, c)
	}
	read()
	path := filepath.Join(c.cfg.Dir, blobsDir, d.String())
	damage := map[string]func() error{
		"byte inside":  func() error { return flip(path, 4321) },
		"truncated":    func() error { return os.Truncate(path, 17) },
		"removed":      func() error { return os.Remove(path) },
		"emptied":      func() error { return os.WriteFile(path, nil, 0o600) },
		"grown, moved": func() error { return os.WriteFile(path, append([]byte("x"), o.blobs[d]...), 0o600) },
	}
	for name, do := range damage {
		before := o.fetches.Load()
		require.NoError(t, do(), name)
		read()
		require.Equal(t, before+1, o.fetches.Load(), name)
		require.NoError(t, do(), name)
		b, err := c.Bytes(t.Context(), d, 40_000)
		require.NoError(t, err, name)
		require.Equal(t, o.blobs[d], b, name)
		settled(t, c)
	}
	require.EqualValues(t, 2*len(damage), c.Stats().Quarantined)
	bytes, files, reserved := c.index.usage()
	require.Equal(t, du(t, c.cfg.Dir), bytes)
	require.Zero(t, reserved)
	require.LessOrEqual(t, files, int64(1+maxBad), "the blob and a few bad copies of it")
	require.Greater(t, files, int64(1))
}

func flip(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	return err
}

func TestWrongAndMissingBytesAreErrors(t *testing.T) {
	o := &origin{}
	d := o.add(10)
	o.blobs[d] = []byte("other")
	c := open(t, o, nil)
	_, err := c.Bytes(t.Context(), d, 10)
	var corrupt *blob.CorruptError
	require.ErrorAs(t, err, &corrupt)
	_, err = c.Bytes(t.Context(), blob.Sum([]byte("never stored")), 10)
	require.ErrorIs(t, err, blob.ErrNotFound)
	boom := errors.New("boom")
	o.fail.Store(&boom)
	_, err = c.Bytes(t.Context(), d, 10)
	require.ErrorIs(t, err, boom)
	require.EqualValues(t, 4, c.Stats().Failures, "wrong bytes are asked for twice, and errors are not remembered")
}

// du is what du(1) counts: allocated blocks of everything below dir.
func du(t testing.TB, dir string) (n int64) {
	err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		var st syscall.Stat_t
		if e := syscall.Lstat(p, &st); e == nil {
			n += st.Blocks * 512
		} else if !errors.Is(e, syscall.ENOENT) {
			return e
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	require.NoError(t, err)
	return n
}

func TestNeverOverItsCap(t *testing.T) {
	o := &origin{}
	const largest = 1 << 20
	sizes := []int{1, 4095, 4096, 4097, 70_000, 300_000, largest}
	var ds []blob.Digest
	for range 12 {
		for _, n := range sizes {
			ds = append(ds, o.add(n))
		}
	}
	c := open(t, o, func(c *Config) { c.MaxBytes, c.MemoryBytes = 2*largest, 1 })
	ready(c)
	stop, worst := make(chan struct{}), int64(0)
	var sampler sync.WaitGroup
	sampler.Go(func() {
		for {
			worst = max(worst, du(t, c.cfg.Dir))
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 20 {
				i := rand.IntN(len(ds))
				b, err := c.Bytes(t.Context(), ds[i], int64(sizes[i%len(sizes)]))
				if err != nil || blob.Sum(b) != ds[i] {
					t.Error(len(b), err)
				}
			}
		})
	}
	wg.Wait()
	settled(t, c)
	close(stop)
	sampler.Wait()
	require.LessOrEqual(t, worst, int64(2*largest))
	require.Positive(t, c.Stats().Evictions)
	bytes, _, reserved := c.index.usage()
	require.Equal(t, du(t, c.cfg.Dir), bytes, "the books agree with the disk")
	require.Zero(t, reserved)
}

func TestCapInFilesAndPins(t *testing.T) {
	o := &origin{}
	c := open(t, o, func(c *Config) { c.MaxFiles, c.MemoryBytes = 10, 1 })
	ready(c)
	pinned := o.add(100)
	_, err := c.Bytes(t.Context(), pinned, 100)
	require.NoError(t, err)
	settled(t, c)
	done, ok := c.acquire(pinned)
	require.True(t, ok)
	for i := range 30 {
		d := o.add(200 + i)
		_, err := c.Bytes(t.Context(), d, int64(200+i))
		require.NoError(t, err)
		settled(t, c)
		_, files, _ := c.index.usage()
		require.LessOrEqual(t, files, int64(10))
	}
	require.True(t, c.disk.has(pinned), "a pinned file stays")
	done()
	for i := range 30 {
		_, err := c.Bytes(t.Context(), o.add(300+i), int64(300+i))
		require.NoError(t, err)
		settled(t, c)
	}
	require.False(t, c.disk.has(pinned), "an unpinned one goes in its turn")
}

func (k *disk) has(d blob.Digest) bool { _, ok := k.stat(d); return ok }

func TestLeastRecentlyUsedGoesFirstAlsoAfterARestart(t *testing.T) {
	o := &origin{}
	dir := t.TempDir()
	c := open(t, o, func(c *Config) { c.Dir, c.MemoryBytes = dir, 1 })
	ready(c)
	var ds []blob.Digest
	for i := range 6 {
		d := o.add(1000 + i)
		ds = append(ds, d)
		_, err := c.Bytes(t.Context(), d, 0)
		require.NoError(t, err)
		settled(t, c)
	}
	require.NoError(t, c.Close())
	for i, d := range ds { // the last shall be coldest
		at := time.Now().Add(-time.Duration(i) * time.Hour)
		require.NoError(t, os.Chtimes(filepath.Join(dir, blobsDir, d.String()), at, at))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, blobsDir, tmpPrefix+"left"), []byte("x"), 0o600))
	c = open(t, o, func(c *Config) { c.Dir, c.MemoryBytes, c.MaxFiles = dir, 1, 4 })
	ready(c)
	for i, d := range ds {
		require.Equal(t, i < 4, c.disk.has(d), "blob %d", i)
	}
	require.NoFileExists(t, filepath.Join(dir, blobsDir, tmpPrefix+"left"))
}

func TestServesWhileTheScanRuns(t *testing.T) {
	o := &origin{}
	dir := t.TempDir()
	d, fresh := o.add(5000), o.add(6000)
	c := open(t, o, func(c *Config) { c.Dir = dir })
	ready(c)
	_, err := c.Bytes(t.Context(), d, 5000)
	require.NoError(t, err)
	require.NoError(t, c.Close())

	held := make(chan struct{})
	c = open(t, o, func(c *Config) { c.Dir, c.beforeScan = dir, func() { <-held } })
	_, err = c.Bytes(t.Context(), d, 5000)
	require.NoError(t, err)
	require.EqualValues(t, 1, o.fetches.Load(), "found on disk before the scan named it")
	_, err = c.Bytes(t.Context(), fresh, 6000)
	require.NoError(t, err)
	settled(t, c)
	require.False(t, c.disk.has(fresh), "nothing is written before usage is known")
	close(held)
	ready(c)
	_, files, _ := c.index.usage()
	require.EqualValues(t, 1, files, "counted once")
}

func TestASecondProcessIsRefused(t *testing.T) {
	c := open(t, &origin{}, nil)
	_, err := Open(Config{Dir: c.cfg.Dir, Origin: &origin{}})
	require.ErrorIs(t, err, ErrInUse)
	require.NoError(t, c.Close())
	c2, err := Open(Config{Dir: c.cfg.Dir, Origin: &origin{}})
	require.NoError(t, err)
	require.NoError(t, c2.Close())
	_, err = c2.Bytes(t.Context(), blob.Sum(nil), 0)
	require.ErrorIs(t, err, ErrClosed)
}
