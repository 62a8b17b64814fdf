package chunkfs

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// Reading ahead, so that what a request needs starts in one round trip:
//
//   - the first touch of a question starts all its blobs;
//   - and what the questions of the course were seen to read besides themselves (its profile);
//   - and, when questions are read in their order, the next 4, 8, then 16.
//
// It only ever starts fetches that a reader may join; nobody waits for it.

const (
	aheadBytes  = 4 << 20         // of one chunk
	profileTime = 2 * time.Second // after a question's first touch, what is touched belongs to its request
	profilePath = head.MaxProfile // paths a profile remembers
	profileMost = 16 << 20        // bytes of its blobs: one that is wrong costs no more
)

// touches is what readers of one version have touched. Its zero value after init is ready.
type touches struct {
	blobs, chunks []atomic.Bool

	mu     sync.Mutex // guards the rest
	last   int        // chunk of the question touched last
	streak int        // questions in order so far
	at     time.Time  // of the last first touch of a question; of an environment's first touch

	recorded []string // of an environment: what the store says that its start reads
}

func newTouches(m *manifest.Manifest) *touches {
	return &touches{blobs: make([]atomic.Bool, m.Blobs()), chunks: make([]atomic.Bool, m.Chunks()), last: -2}
}

// touch is told of every read that reaches us; all but the first of a blob cost one load.
func (f *FS) touch(v *version, entry, blobIndex int, ref manifest.BlobRef) {
	t := v.touched()
	if t.blobs[blobIndex].Load() || t.blobs[blobIndex].Swap(true) {
		return
	}
	if v.Kind() == manifest.Tree {
		f.touchEnv(v, t, entry, ref)
		return
	}
	if v.ChunkHead(ref.Chunk).Kind != manifest.Question {
		if t.inRequest() {
			f.profiles.add(v.course, v.Path(entry))
		}
		return
	}
	if t.chunks[ref.Chunk].Swap(true) {
		return
	}
	f.startChunk(v, ref.Chunk)
	f.startKnown(v)
	for k, n := ref.Chunk+1, t.next(ref.Chunk); n > 0 && k < v.Chunks(); k++ {
		if v.ChunkHead(k).Kind == manifest.Question {
			f.startChunk(v, k)
			n--
		}
	}
}

func (t *touches) inRequest() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Since(t.at) < profileTime
}

// next notes the first touch of a question and says how many of those after it to start.
func (t *touches) next(chunk int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if chunk > t.last && chunk <= t.last+2 { // a neighbour, or nearly
		t.streak++
	} else {
		t.streak = 0
	}
	t.last, t.at = chunk, time.Now()
	if t.streak == 0 {
		return 0
	}
	return min(4<<(t.streak-1), 16)
}

// startChunk starts a chunk's blobs, up to a size.
func (f *FS) startChunk(v *version, chunk int) {
	total := int64(0)
	first, n := v.ChunkBlobs(chunk)
	for k := first; k < first+n; k++ {
		b := v.Blob(k)
		if total += b.Size; total > aheadBytes {
			return
		}
		f.cfg.Cache.Prefetch(b.Digest, b.Size)
	}
}

// startKnown starts what the questions of the course were seen to read besides themselves.
func (f *FS) startKnown(v *version) {
	total := int64(0)
	started := make(map[int]bool)
	for _, path := range f.profiles.get(v.course) {
		i, ok := v.Find(path)
		if !ok {
			continue
		}
		at := v.Locate(i)
		if at.Kind == manifest.Empty || started[at.Blob] {
			continue
		}
		started[at.Blob] = true
		b := v.Blob(at.Blob)
		if total += b.Size; total > profileMost {
			return
		}
		f.cfg.Cache.Prefetch(b.Digest, b.Size)
	}
}
