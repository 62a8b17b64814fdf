package chunkfs

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"golang.org/x/sync/errgroup"
)

// What an interpreter reads at its start is the same at every start: the files
// and blocks of an environment that were touched soon after its first touch are
// its profile, and the next first touch, here after a restart or on a node that
// was seeded with it, starts them all in one round trip. A block is written as
// path//number: no name holds a slash.

const (
	envProfileTime = 10 * time.Second
	envProfile     = 4096    // entries a profile of an environment remembers
	envChunk       = 1 << 20 // a chunk of at most so many bytes is started with its first file
)

// touchEnv is told of the first read of each blob of an environment.
func (f *FS) touchEnv(v *version, t *touches, entry int, ref manifest.BlobRef) {
	if t.begin() {
		f.wg.Go(func() { f.startProfile(v, f.profiles.get(v.course)) })
	}
	if t.within(envProfileTime) {
		f.profiles.add(v.course, v.Path(entry))
	}
	if !t.chunks[ref.Chunk].Swap(true) && v.chunkBytes(ref.Chunk) <= envChunk {
		f.startChunk(v, ref.Chunk)
	}
}

// touchBlock is told of every read of a file in blocks.
func (f *FS) touchBlock(v *version, entry int, off int64) {
	if v.Kind() == manifest.Tree && v.touched().within(envProfileTime) {
		f.profiles.add(v.course, v.Path(entry)+"//"+strconv.FormatInt(off/manifest.BlockSize, 10))
	}
}

// begin says whether nothing of the version was touched before.
func (t *touches) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.at.IsZero()
	if first {
		t.at = time.Now()
	}
	return first
}

func (t *touches) within(d time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Since(t.at) < d
}

func (v *version) chunkBytes(chunk int) (total int64) {
	first, n := v.ChunkBlobs(chunk)
	for k := first; k < first+n; k++ {
		total += v.Blob(k).Size
	}
	return total
}

// profileAtOnce is how many blobs of a profile are on their way at once: more than
// what is prefetched otherwise, because a start waits for all of them.
const profileAtOnce = 128

// startProfile fetches what paths name. A failure is heard by whoever reads.
func (f *FS) startProfile(v *version, paths []string) {
	var g errgroup.Group
	g.SetLimit(profileAtOnce)
	fetch := func(d blob.Digest, size int64) {
		if f.ctx.Err() == nil && !f.cfg.Cache.Has(d) {
			g.Go(func() error {
				_, _ = f.fetch(d, size)
				return nil
			})
		}
	}
	blocks := map[int][]int64{}
	for _, p := range paths {
		path, block, isBlock := strings.Cut(p, "//")
		i, ok := v.Find(path)
		if !ok {
			continue
		}
		if at := v.Locate(i); at.Kind != manifest.Empty && !isBlock {
			ref := v.Blob(at.Blob)
			fetch(ref.Digest, ref.Size)
		}
		if k, err := strconv.ParseInt(block, 10, 64); isBlock && err == nil && k >= 0 && k*manifest.BlockSize < v.Entry(i).Size {
			blocks[i] = append(blocks[i], k)
		}
	}
	for i, ks := range blocks { // their indexes are on their way, or here
		at, size := v.Locate(i), v.Entry(i).Size
		if at.Kind != manifest.Blocks {
			continue
		}
		ref := v.Blob(at.Blob)
		index, err := f.fetch(ref.Digest, ref.Size)
		for _, k := range ks {
			if err == nil && 32*(k+1) <= int64(len(index)) {
				fetch(blob.Digest(index[32*k:]), min(manifest.BlockSize, size-k*manifest.BlockSize))
			}
		}
	}
	_ = g.Wait()
}

func (f *FS) fetch(d blob.Digest, size int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(f.ctx, f.cfg.Deadline)
	defer cancel()
	return f.cfg.Cache.Bytes(ctx, d, size)
}

// profileRoom is how many entries the profile of a course or an environment has.
func profileRoom(course string) int {
	if isEnv(course) {
		return envProfile
	}
	return profilePath
}
