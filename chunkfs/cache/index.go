package cache

import (
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// Watermarks in percent of the cap: above the high one the evictor works down
// to the low one, so that a miss seldom has to wait for an eviction.
const (
	highWater = 95
	lowWater  = 85
)

type limits struct{ bytes, files int64 }

type state uint8

const (
	writing  state = iota // reserved by its writer, not readable
	present               // readable
	evicting              // being unlinked, not readable
)

// entry is one file. Entries that are present stand in a ring, most recently used first.
type entry struct {
	digest     blob.Digest
	bytes      int64 // allocated
	used       int64 // seconds since 1970
	pins       int32
	state      state
	bad        string // file name once quarantined: counted, never read, evicted first
	prev, next *entry
}

func (e *entry) name() string {
	if e.bad != "" {
		return e.bad
	}
	return e.digest.String()
}

// maxBad is how many quarantined files are kept.
const maxBad = 8

// index knows the files, their order of use and what they cost. It does no I/O.
type index struct {
	limits limits

	mu       sync.Mutex // guards everything below
	entries  map[blob.Digest]*entry
	ring     entry // sentinel
	files    int64
	bad      int   // quarantined ones among them
	bytes    int64 // allocated by files
	overhead int64 // allocated by directories
	reserved limits
}

func newIndex(l limits) *index {
	x := &index{limits: l, entries: make(map[blob.Digest]*entry)}
	x.ring.prev, x.ring.next = &x.ring, &x.ring
	return x
}

func (x *index) setOverhead(n int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.overhead = n
}

func (x *index) pushFrontLocked(e *entry) {
	e.prev, e.next = &x.ring, x.ring.next
	e.prev.next, e.next.prev = e, e
}

func (x *index) pushBackLocked(e *entry) {
	e.prev, e.next = x.ring.prev, &x.ring
	e.prev.next, e.next.prev = e, e
}

func (x *index) unlinkLocked(e *entry) {
	if e.next != nil {
		e.prev.next, e.next.prev = e.next, e.prev
		e.prev, e.next = nil, nil
	}
}

// acquire pins d against eviction until done is called, and marks it as used.
func (x *index) acquire(d blob.Digest) (e *entry, done func(), ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e, ok = x.entries[d]
	if !ok || e.state != present {
		return nil, nil, false
	}
	e.pins++
	e.used = time.Now().Unix()
	x.unlinkLocked(e)
	x.pushFrontLocked(e)
	return e, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		e.pins--
	}, true
}

// begin claims d for one writer.
func (x *index) begin(d blob.Digest) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, ok := x.entries[d]; ok {
		return false
	}
	x.entries[d] = &entry{digest: d, state: writing}
	return true
}

func (x *index) abort(d blob.Digest) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.entries, d)
}

// commit makes a written file readable and counts what it and its directory now cost.
func (x *index) commit(d blob.Digest, allocated, overhead int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.entries[d]
	e.state, e.bytes, e.used = present, allocated, time.Now().Unix()
	x.files++
	x.bytes += allocated
	x.overhead = overhead
	x.pushFrontLocked(e)
}

// adopt adds a file that was found on disk; old ones go to the cold end.
func (x *index) adopt(d blob.Digest, allocated int64, bad string, cold bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := &entry{digest: d, bytes: allocated, state: present, bad: bad, used: time.Now().Unix()}
	if bad != "" {
		x.bad++
	} else if _, ok := x.entries[d]; ok {
		return
	} else {
		x.entries[d] = e
	}
	x.files++
	x.bytes += allocated
	if cold {
		x.pushBackLocked(e)
	} else {
		x.pushFrontLocked(e)
	}
}

// condemn takes d out of reach after its file proved wrong, and says whether
// there is room for another quarantined one; forget follows.
func (x *index) condemn(d blob.Digest) (e *entry, keep, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e, ok = x.entries[d]
	if !ok || e.state != present {
		return nil, false, false
	}
	e.state = evicting
	x.unlinkLocked(e)
	return e, x.bad < maxBad, true
}

// forget drops an entry whose file is gone.
func (x *index) forget(e *entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.entries[e.digest] == e {
		delete(x.entries, e.digest)
	}
	if e.bad != "" {
		x.bad--
	}
	x.files--
	x.bytes -= e.bytes
}

// victim picks the file to unlink next: quarantined and least recently used
// first, never a pinned one.
func (x *index) victim() *entry {
	x.mu.Lock()
	defer x.mu.Unlock()
	for e := x.ring.prev; e != &x.ring; e = e.prev {
		if e.pins == 0 {
			e.state = evicting
			x.unlinkLocked(e)
			return e
		}
	}
	return nil
}

// idle picks a file that nobody used since then, that is not pinned, and that keep does not claim.
func (x *index) idle(since int64, keep func(blob.Digest) bool) *entry {
	x.mu.Lock()
	defer x.mu.Unlock()
	for e := x.ring.prev; e != &x.ring && e.used < since; e = e.prev {
		if e.pins == 0 && (e.bad != "" || !keep(e.digest)) {
			e.state = evicting
			x.unlinkLocked(e)
			return e
		}
	}
	return nil
}

func (x *index) above(percent int64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return 100*(x.bytes+x.overhead+x.reserved.bytes) > percent*x.limits.bytes ||
		100*(x.files+x.reserved.files) > percent*x.limits.files
}

// reserve takes room for one file of n allocated bytes, if there is any.
func (x *index) reserve(n int64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.bytes+x.overhead+x.reserved.bytes+n > x.limits.bytes || x.files+x.reserved.files+1 > x.limits.files {
		return false
	}
	x.reserved.bytes += n
	x.reserved.files++
	return true
}

func (x *index) unreserve(n int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.reserved.bytes -= n
	x.reserved.files--
}

func (x *index) usage() (bytes, files, reserved int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.bytes + x.overhead, x.files, x.reserved.bytes
}
