package chunkfs

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"golang.org/x/sync/errgroup"
)

// What an interpreter reads at its start is the same at every start: the files
// and blocks of an environment that were touched soon after its first touch are
// its profile, and the next first touch, here after a restart or on any other
// node (envshare.go), starts them all in one round trip. A block is written as
// path//number: no name holds a slash.

const (
	envProfileTime = 10 * time.Second
	envProfileMost = 256 << 20 // bytes of its blobs: a profile that is wrong costs no more
	envChunk       = 1 << 20   // a chunk of at most so many bytes is started with its first file
)

// touchEnv is told of the first read of each blob of an environment.
func (f *FS) touchEnv(v *version, t *touches, entry int, ref manifest.BlobRef) {
	if recorded, first := t.begin(); first {
		f.wg.Go(func() { f.startProfile(v, append(f.profiles.get(v.course), recorded...)) })
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

// begin says whether nothing of the version was touched before, and what is
// recorded of its start.
func (t *touches) begin() (recorded []string, first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if first = t.at.IsZero(); first {
		t.at = time.Now()
	}
	return t.recorded, first
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
const profileAtOnce = 256

// startProfile fetches what paths name. A failure is heard by whoever reads.
func (f *FS) startProfile(v *version, paths []string) {
	var g errgroup.Group
	g.SetLimit(profileAtOnce)
	left, started := int64(envProfileMost), map[int]bool{}
	fetch := func(d blob.Digest, size int64) {
		if left -= size; left >= 0 && f.ctx.Err() == nil && !f.cfg.Cache.Has(d) {
			g.Go(func() error {
				_, _ = f.fetch(d, size)
				return nil
			})
		}
	}
	blocks := map[int][]int64{}
	var inBlocks []int // in the order of paths
	for _, p := range paths {
		path, block, isBlock := strings.Cut(p, "//")
		i, ok := v.Find(path)
		if !ok {
			continue
		}
		at := v.Locate(i)
		if at.Kind == manifest.Empty || started[at.Blob] && !isBlock {
			continue
		}
		if !started[at.Blob] {
			started[at.Blob] = true
			ref := v.Blob(at.Blob)
			fetch(ref.Digest, ref.Size)
		}
		if k, err := strconv.ParseInt(block, 10, 64); at.Kind == manifest.Blocks && err == nil && k >= 0 && k < (v.Entry(i).Size+manifest.BlockSize-1)/manifest.BlockSize {
			if blocks[i] == nil {
				inBlocks = append(inBlocks, i)
			}
			blocks[i] = append(blocks[i], k)
		}
	}
	for _, i := range inBlocks { // their indexes are on their way, or here
		ref, size := v.Blob(v.Locate(i).Blob), v.Entry(i).Size
		index, err := f.fetch(ref.Digest, ref.Size)
		for _, k := range blocks[i] {
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
		return head.MaxEnvProfile
	}
	return profilePath
}
