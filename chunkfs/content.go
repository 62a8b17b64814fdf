package chunkfs

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// contentTable maps the node id of a file's content to one place where it can
// be read: slot<<32 | entry. It lies in a shared mapping, so what was put into it
// outlives a killed daemon without a system call.
//
// It grows by segments, each an open-addressed table twice the size of the one
// before; nothing ever moves, so readers need no lock. A record is written
// content first and key last.
type contentTable struct {
	file     *os.File
	segments atomic.Pointer[[]segment]

	mu    sync.Mutex // guards insertion and growth
	count int        // records in the last segment
}

// record is three words; key 0 is a free one.
type record struct{ key, check, place uint64 }

type segment []record

const (
	firstSegment = 4096 // records; 24 pages
	recordSize   = int64(unsafe.Sizeof(record{}))
)

func openContentTable(f *os.File) (*contentTable, error) {
	t := &contentTable{file: f}
	t.segments.Store(&[]segment{})
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open content table: %w", err)
	}
	for n := 0; n == 0 || segmentOffset(n+1) <= st.Size(); n++ {
		if err := t.growLocked(); err != nil {
			return nil, err
		}
	}
	segs := *t.segments.Load()
	for i := range segs[len(segs)-1] {
		if segs[len(segs)-1][i].key != 0 {
			t.count++
		}
	}
	return t, nil
}

// segmentOffset is where segment n begins: all before it hold (2^n - 1) * firstSegment records.
func segmentOffset(n int) int64 { return recordSize * firstSegment * (1<<n - 1) }

func (t *contentTable) growLocked() error {
	old := *t.segments.Load()
	from, to := segmentOffset(len(old)), segmentOffset(len(old)+1)
	if st, err := t.file.Stat(); err != nil || st.Size() < to {
		if err = errors.Join(err, t.file.Truncate(to)); err != nil {
			return fmt.Errorf("grow content table: %w", err)
		}
	}
	mem, err := unix.Mmap(int(t.file.Fd()), from, int(to-from), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map content table: %w", err)
	}
	seg := segment(unsafe.Slice((*record)(unsafe.Pointer(&mem[0])), int64(len(mem))/recordSize))
	segs := append(old[:len(old):len(old)], seg)
	t.segments.Store(&segs)
	t.count = 0
	return nil
}

// find probes from where key hashes to; it returns its record, or the free one that ends the probe.
func (s segment) find(key uint64) *record {
	mask := uint64(len(s) - 1)
	for i := key * 0x9e3779b97f4a7c15 >> 20; ; i++ {
		r := &s[i&mask]
		if k := atomic.LoadUint64(&r.key); k == key || k == 0 {
			return r
		}
	}
}

func (t *contentTable) lookup(key uint64) *record {
	segs := *t.segments.Load()
	for i := len(segs) - 1; i >= 0; i-- {
		if r := segs[i].find(key); atomic.LoadUint64(&r.key) == key {
			return r
		}
	}
	return nil
}

// get returns the place of a content id.
func (t *contentTable) get(key uint64) (place uint64, ok bool) {
	r := t.lookup(key)
	if r == nil {
		return 0, false
	}
	return atomic.LoadUint64(&r.place), true
}

// put says that the content can be read at place. ok is false when another
// content has the same id; the caller then uses the id of the place.
// A place that is there already stays unless stale says that it serves no longer.
func (t *contentTable) put(key, check, place uint64, stale func(place uint64) bool) (ok bool, err error) {
	r := t.lookup(key)
	if r == nil {
		if r, err = t.insert(key, check, place); err != nil {
			return false, err
		}
	}
	if atomic.LoadUint64(&r.check) != check {
		return false, nil
	}
	if old := atomic.LoadUint64(&r.place); old != place && stale(old) {
		atomic.StoreUint64(&r.place, place)
	}
	return true, nil
}

func (t *contentTable) insert(key, check, place uint64) (*record, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.lookup(key); r != nil {
		return r, nil
	}
	segs := *t.segments.Load()
	last := segs[len(segs)-1]
	if 4*t.count >= 3*len(last) {
		if err := t.growLocked(); err != nil {
			return nil, err
		}
		segs = *t.segments.Load()
		last = segs[len(segs)-1]
	}
	r := last.find(key)
	atomic.StoreUint64(&r.check, check)
	atomic.StoreUint64(&r.place, place)
	atomic.StoreUint64(&r.key, key)
	t.count++
	return r, nil
}

func (t *contentTable) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.count
	for _, s := range (*t.segments.Load())[:len(*t.segments.Load())-1] {
		n += len(s) * 3 / 4
	}
	return n
}

func (t *contentTable) close() (err error) {
	for _, s := range *t.segments.Load() {
		err = errors.Join(err, unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), int64(len(s))*recordSize)))
	}
	t.segments.Store(&[]segment{{record{}}})
	return err
}
