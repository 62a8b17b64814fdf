package syncer

import (
	"context"
	"fmt"
	"io"

	"github.com/zeebo/blake3"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// retain bounds the bytes of small files that are kept between reading them and
// packing them; what exceeds it is read twice.
const retain = 24 << 20

// part is one chunk on its way into the store.
type part struct {
	files  []int // its regular files' entries, in order
	unread int   // of them
	blobs  []manifest.SpecBlob
	first  int // the previous chunk's first blob, when all of it is reused
	reused bool

	kept     map[int]content // by entry
	keptSize int
	dropped  bool
}

// filler reads what must be read and decides where each file lies.
type filler struct {
	*plan
	tree  tree
	puts  *uploader
	parts []part
	later []int // chunks that need contents which were not read or not kept

	prevFiles []int32             // per previous chunk
	packFiles []int32             // per previous blob
	indexes   map[int]blob.Digest // of files in blocks that were read, by entry
	graders   map[string]bool     // environments of graders that questions name
	held      int                 // bytes kept for later
	slabs     slabs
	step      func(bytes int64)
}

func newFiller(p *plan, t tree, puts *uploader, step func(int64)) *filler {
	f := &filler{plan: p, tree: t, puts: puts, step: step, indexes: map[int]blob.Digest{}, graders: map[string]bool{}}
	if p.prev != nil {
		f.prevFiles, f.packFiles = p.prev.FilesPer()
	}
	f.parts = make([]part, len(p.spec.Chunks))
	for i := range p.spec.Entries {
		if e := &p.spec.Entries[i]; e.Type == manifest.File {
			c := &f.parts[e.Chunk]
			c.files = append(c.files, i)
		}
	}
	return f
}

// fill reads, hashes and stores whatever is not in the store by way of the
// previous version, and completes the spec.
func (f *filler) fill(ctx context.Context) error {
	var read []*node
	var entry []int
	for k := range f.parts {
		c := &f.parts[k]
		if c.reused = f.reusable(k); c.reused {
			continue
		}
		for _, i := range c.files {
			if n := f.nodes[i]; n != nil && !(n.known && f.stored(i)) {
				read, entry = append(read, n), append(entry, i)
				c.unread++
			}
		}
		if c.unread == 0 {
			f.later = append(f.later, k)
		}
	}
	at := 0
	err := f.tree.read(ctx, read, func(n *node, size int64, r io.Reader) error {
		i := entry[at]
		at++
		if err := f.take(i, n, size, r); err != nil {
			return fmt.Errorf("%s: %w", n.path(), err)
		}
		f.step(size)
		k := f.spec.Entries[i].Chunk
		if f.parts[k].unread--; f.parts[k].unread > 0 {
			return nil
		}
		return f.finish(ctx, k, true)
	})
	if err != nil {
		return err
	}
	for _, k := range f.later {
		if err := f.finish(ctx, k, false); err != nil {
			return err
		}
	}
	f.number()
	return nil
}

// stored: the previous version holds this very content at this path.
func (f *filler) stored(i int) bool {
	if f.nodes[i] == nil {
		return true // copied
	}
	p := f.from[i]
	if p < 0 || f.prev == nil {
		return false
	}
	e, was := &f.spec.Entries[i], f.prev.Entry(p)
	return was.Type == manifest.File && was.Digest == e.Digest && was.Size == e.Size
}

// reusable: the chunk has the files that it had, so that it has the same packs.
func (f *filler) reusable(k int) bool {
	c := &f.parts[k]
	if f.prev == nil {
		return false
	}
	head := f.spec.Chunks[k]
	was := -1
	for _, i := range c.files {
		if n := f.nodes[i]; n != nil && !n.known || !f.stored(i) {
			return false
		}
		pk := f.prev.ChunkOf(f.from[i])
		if was < 0 {
			was = pk
			if old := f.prev.ChunkHead(pk); old.Kind != head.Kind || old.Root != f.from[head.Root] || int(f.prevFiles[pk]) != len(c.files) {
				return false
			}
		}
		if pk != was {
			return false
		}
	}
	if was >= 0 {
		first, n := f.prev.ChunkBlobs(was)
		c.first = first
		for b := first; b < first+n; b++ {
			r := f.prev.Blob(b)
			c.blobs = append(c.blobs, manifest.SpecBlob{Kind: r.Kind, Digest: r.Digest, Chunk: k})
		}
	}
	return true
}

// take reads one file.
func (f *filler) take(i int, n *node, size int64, r io.Reader) error {
	if size > manifest.MaxFile {
		return &RefusedError{fmt.Sprintf("%d bytes; the largest file is %d", size, int64(manifest.MaxFile))}
	}
	if size > manifest.BlockSize {
		return f.takeBlocks(i, n, size, r)
	}
	x := f.slabs.room(size)
	if _, err := io.ReadFull(r, x.b); err != nil {
		return err
	}
	f.learn(i, n, size, blob.Sum(x.b))
	f.meet(i, x.b)
	c := &f.parts[f.spec.Entries[i].Chunk]
	switch {
	case size >= manifest.OwnSize && !f.stored(i):
		return f.puts.lend(n.digest, x.b, x.free)
	case size >= manifest.OwnSize, c.dropped, size == 0:
		x.free()
		return nil
	}
	if c.kept == nil {
		c.kept = map[int]content{}
	}
	c.kept[i] = x
	if c.keptSize += len(x.b); c.keptSize > retain {
		c.forget()
		c.dropped = true
	}
	return nil
}

// forget frees what is kept.
func (c *part) forget() {
	for _, x := range c.kept {
		x.free()
	}
	c.kept, c.keptSize = nil, 0
}

// takeBlocks never holds more than a block of the file.
func (f *filler) takeBlocks(i int, n *node, size int64, r io.Reader) error {
	whole := blake3.New()
	var index []byte
	for left := size; left > 0; left -= manifest.BlockSize {
		x := f.slabs.room(min(left, manifest.BlockSize))
		if _, err := io.ReadFull(r, x.b); err != nil {
			return err
		}
		whole.Write(x.b)
		d := blob.Sum(x.b)
		index = append(index, d[:]...)
		if err := f.puts.lend(d, x.b, x.free); err != nil {
			return err
		}
	}
	f.learn(i, n, size, blob.Digest(whole.Sum(nil)))
	f.indexes[i] = blob.Sum(index)
	return f.puts.put(f.indexes[i], index)
}

func (f *filler) learn(i int, n *node, size int64, d blob.Digest) {
	n.known, n.size, n.digest = true, size, d
	f.spec.Entries[i].Size, f.spec.Entries[i].Digest = size, d
}
