// Package rendercache keeps the results of pure calls.
//
// It guarantees that a result is given out only for an equal Input, which means
// equal content of every chunk that the call can see, equal runtimes, limits,
// function, HTML and data; that only results which are ok, printed nothing and
// did not opt out are kept; that equal calls at the same time run once, on a
// context that none of them owns and that ends when the last of them has left;
// and that it holds no more bytes than its budget. Purge forgets everything,
// also what is being computed at that moment.
//
// It refuses to keep errors and outcomes of any kind.
package rendercache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/prairielambda/prairielambda/jobs"
)

// Config configures a Cache. The zero value of a field means its default.
type Config struct {
	Bytes int64         // in memory; default 64 MiB
	TTL   time.Duration // of one result; default 1 h

	Dir      string // a directory of its own for results on disk; empty keeps none
	DirBytes int64  // on disk; default 1 GiB

	// FillTime bounds one shared computation; default 2 min.
	FillTime time.Duration
	Register prometheus.Registerer // default: a private one
}

// perEntry is what an entry costs besides its content.
const perEntry = 512

// Cache keeps results. It is safe for concurrent use. A result that it returns
// is shared and must not be changed.
type Cache struct {
	cfg     Config
	disk    *disk // nil without Config.Dir
	lookups *prometheus.CounterVec
	owner   sync.WaitGroup // computations

	mu      sync.Mutex // guards all below
	bytes   int64
	recent  list.List // of *entry, most recent first
	entries map[Key]*list.Element
	flights map[Key]*flight
	era     uint64 // counts purges
}

type entry struct {
	key   Key
	res   *jobs.Result
	bytes int64
	dies  time.Time
}

type flight struct {
	done    chan struct{} // closed when res, err and loaded are set
	loaded  bool          // from disk
	res     *jobs.Result
	err     error
	waiting int // guarded by Cache.mu
	cancel  context.CancelFunc
}

// New returns a cache, with what an earlier one left in Config.Dir.
func New(cfg Config) (*Cache, error) {
	if cfg.Bytes <= 0 {
		cfg.Bytes = 64 << 20
	}
	if cfg.TTL <= 0 {
		cfg.TTL = time.Hour
	}
	if cfg.DirBytes <= 0 {
		cfg.DirBytes = 1 << 30
	}
	if cfg.FillTime <= 0 {
		cfg.FillTime = 2 * time.Minute
	}
	if cfg.Register == nil {
		cfg.Register = prometheus.NewRegistry()
	}
	c := &Cache{
		cfg: cfg, entries: map[Key]*list.Element{}, flights: map[Key]*flight{},
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "prairie_gateway_cache_lookups_total", Help: "Lookups in the render cache: hit, disk, shared with a running call, miss.",
		}, []string{"result"}),
	}
	size := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "prairie_gateway_cache_bytes", Help: "Bytes of results in memory.",
	}, func() float64 { c.mu.Lock(); defer c.mu.Unlock(); return float64(c.bytes) })
	if err := errors.Join(cfg.Register.Register(c.lookups), cfg.Register.Register(size)); err != nil {
		return nil, fmt.Errorf("render cache: metrics: %w", err)
	}
	if cfg.Dir != "" {
		d, err := openDisk(cfg.Dir, cfg.DirBytes, cfg.TTL)
		if err != nil {
			return nil, fmt.Errorf("render cache: %w", err)
		}
		c.disk = d
	}
	return c, nil
}

// Close waits for computations to end. Their callers have left by then.
func (c *Cache) Close() { c.owner.Wait() }

// Do returns the kept result of key, or that of fill, which runs once for all
// who ask at the same time. how is hit, disk, shared or miss.
func (c *Cache) Do(ctx context.Context, key Key, fill func(context.Context) (*jobs.Result, error)) (res *jobs.Result, how string, err error) {
	defer func() { c.lookups.WithLabelValues(how).Inc() }()
	c.mu.Lock()
	if res := c.getLocked(key, time.Now()); res != nil {
		c.mu.Unlock()
		return res, "hit", nil
	}
	how = "shared"
	f := c.flights[key]
	if f == nil {
		how = "miss"
		f = c.beginLocked(ctx, key, fill)
	}
	f.waiting++
	c.mu.Unlock()

	select {
	case <-f.done:
		if how == "miss" && f.loaded {
			how = "disk"
		}
		return f.res, how, f.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	f.waiting--
	if f.waiting == 0 {
		f.cancel()
		if c.flights[key] == f {
			delete(c.flights, key) // whoever asks next begins anew
		}
	}
	c.mu.Unlock()
	return nil, how, context.Cause(ctx)
}

// beginLocked starts the computation that everybody who asks for key waits for.
func (c *Cache) beginLocked(ctx context.Context, key Key, fill func(context.Context) (*jobs.Result, error)) *flight {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.FillTime)
	f := &flight{done: make(chan struct{}), cancel: cancel}
	era := c.era
	c.flights[key] = f
	c.owner.Go(func() {
		defer cancel()
		defer close(f.done)
		var diskEra uint64
		if c.disk != nil {
			diskEra = c.disk.now()
			f.res = c.disk.get(key, time.Now())
		}
		f.loaded = f.res != nil
		if !f.loaded {
			f.res, f.err = fill(ctx)
		}
		kept := f.err == nil && storable(f.res)
		if kept && !f.loaded && c.disk != nil {
			c.disk.put(key, bare(f.res), diskEra)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.flights[key] == f {
			delete(c.flights, key)
		}
		if kept && c.era == era {
			c.putLocked(key, f.res)
		}
	})
	return f
}

// storable is the rule of what may be kept.
func storable(r *jobs.Result) bool {
	return r != nil && len(r.Calls) == 1 && r.Calls[0].Outcome == jobs.OK && r.Calls[0].Output == "" && !r.Calls[0].NoStore
}

func (c *Cache) getLocked(key Key, now time.Time) *jobs.Result {
	el := c.entries[key]
	if el == nil {
		return nil
	}
	e := el.Value.(*entry)
	if now.After(e.dies) {
		c.dropLocked(el)
		return nil
	}
	c.recent.MoveToFront(el)
	return e.res
}

func (c *Cache) putLocked(key Key, r *jobs.Result) {
	res := bare(r)
	size := int64(perEntry + len(res.Calls[0].Data) + len(res.Calls[0].File))
	if h := res.Calls[0].HTML; h != nil {
		size += int64(len(*h))
	}
	if size > c.cfg.Bytes/4 {
		return // one page never empties the cache
	}
	if el := c.entries[key]; el != nil {
		c.dropLocked(el)
	}
	c.entries[key] = c.recent.PushFront(&entry{key, res, size, time.Now().Add(c.cfg.TTL)})
	for c.bytes += size; c.bytes > c.cfg.Bytes; {
		c.dropLocked(c.recent.Back())
	}
}

// bare is a result without what belongs to the call that computed it.
func bare(r *jobs.Result) *jobs.Result {
	call := r.Calls[0]
	call.Wall = 0
	return &jobs.Result{Calls: []jobs.CallResult{call}, Tier: r.Tier}
}

func (c *Cache) dropLocked(el *list.Element) {
	e := c.recent.Remove(el).(*entry)
	delete(c.entries, e.key)
	c.bytes -= e.bytes
}

// Purge forgets every result. What is being computed reaches its callers but is not
// kept. Memory comes last: what is read from the disk until then goes with it.
func (c *Cache) Purge() (err error) {
	if c.disk != nil {
		err = c.disk.purge()
	}
	c.mu.Lock()
	c.era++
	c.recent.Init()
	c.entries, c.flights, c.bytes = map[Key]*list.Element{}, map[Key]*flight{}, 0
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("render cache: purge: %w", err)
	}
	return nil
}
