package chunkfs

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// version is one version's decoded manifest. It lies in our own memory, not in
// a mapping of its cache file: a page that goes bad under a mapping is served
// unverified, or kills the process with SIGBUS.
type version struct {
	*manifest.Manifest
	slot
	n       uint32
	modTime time.Time       // of its directories: they change with the version, and caches of listings notice
	touched func() *touches // made when content is first read; most old versions are only looked at
	used    atomic.Int64    // nanoseconds since 1970
}

// versions keeps manifests decoded, the least recently used going first. The
// garbage collector frees one when its last reader is done.
type versions struct {
	fs  *FS
	max int64

	mu    sync.RWMutex // guards the rest
	open  map[uint32]*version
	past  map[uint32]int64 // when a version was used that is no longer open
	bytes int64
}

func newVersions(f *FS, maxBytes int64) *versions {
	return &versions{fs: f, max: maxBytes, open: make(map[uint32]*version), past: make(map[uint32]int64)}
}

func (vs *versions) loaded(n uint32) (*version, bool) {
	vs.mu.RLock()
	defer vs.mu.RUnlock()
	v, ok := vs.open[n]
	return v, ok
}

func (vs *versions) get(ctx context.Context, n uint32) (*version, error) {
	v, ok := vs.loaded(n)
	if !ok {
		var err error
		v, err = once(ctx, vs.fs, fmt.Sprintf("manifest %d", n), func(ctx context.Context) (*version, error) { return vs.load(ctx, n) })
		if err != nil {
			return nil, err
		}
	}
	v.used.Store(time.Now().UnixNano())
	return v, nil
}

func (vs *versions) load(ctx context.Context, n uint32) (*version, error) {
	if v, ok := vs.loaded(n); ok {
		return v, nil
	}
	sl, ok := vs.fs.state.slot(n)
	if !ok || sl.version == "" {
		return nil, fmt.Errorf("slot %d: %w", n, head.ErrNotFound)
	}
	vs.fs.recall(n, sl.course, sl.version)
	b, err := vs.fs.cfg.Cache.Bytes(ctx, sl.manifest, 0)
	if err != nil {
		return nil, fmt.Errorf("manifest of %s/%s: %w", sl.course, sl.version, err)
	}
	m, err := manifest.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("manifest of %s/%s: %w", sl.course, sl.version, err)
	}
	v := &version{Manifest: m, slot: sl, n: n, modTime: manifest.ModTime(sl.manifest), touched: sync.OnceValue(func() *touches { return newTouches(m) })}
	vs.add(v)
	return v, nil
}

func (vs *versions) add(v *version) {
	v.used.Store(time.Now().UnixNano())
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.open[v.n] = v
	vs.bytes += int64(len(v.Bytes()))
	for vs.bytes > vs.max && len(vs.open) > 1 {
		var oldest *version
		for _, o := range vs.open {
			if o != v && (oldest == nil || o.used.Load() < oldest.used.Load()) {
				oldest = o
			}
		}
		delete(vs.open, oldest.n)
		vs.past[oldest.n] = oldest.used.Load()
		vs.bytes -= int64(len(oldest.Bytes()))
	}
}

// trees are the environments whose manifests are here.
func (vs *versions) trees() (all []*version) {
	vs.mu.RLock()
	defer vs.mu.RUnlock()
	for _, v := range vs.open {
		if v.Kind() == manifest.Tree && isEnv(v.course) {
			all = append(all, v)
		}
	}
	return all
}

// usedSince says whether anybody asked for anything of version n since then.
// What was asked of an earlier process is taken to be asked when this one started.
func (vs *versions) usedSince(n uint32, then time.Time) bool {
	if vs.fs.started.After(then) {
		return true
	}
	vs.mu.RLock()
	defer vs.mu.RUnlock()
	if v, ok := vs.open[n]; ok {
		return v.used.Load() > then.UnixNano()
	}
	return vs.past[n] > then.UnixNano()
}

// warm loads a manifest that a reader is about to need.
func (vs *versions) warm(n uint32) {
	if _, ok := vs.loaded(n); ok {
		return
	}
	vs.fs.wg.Go(func() {
		ctx, cancel := context.WithTimeout(vs.fs.ctx, vs.fs.cfg.Deadline)
		defer cancel()
		_, _ = vs.get(ctx, n) // the reader hears of an error itself
	})
}

func (vs *versions) usage() (n int, bytes int64) {
	vs.mu.RLock()
	defer vs.mu.RUnlock()
	return len(vs.open), vs.bytes
}
