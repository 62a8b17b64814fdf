package syncer

import (
	"context"
	"fmt"
	"io"

	"github.com/zeebo/blake3"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"github.com/prairielambda/prairielambda/syncer/pack"
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

	kept     map[int][]byte // contents by entry
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

	prevFiles []int               // per previous chunk
	packFiles []int               // per previous blob
	indexes   map[int]blob.Digest // of files in blocks that were read, by entry
	held      int                 // bytes kept for later
	step      func(bytes int64)
}

func newFiller(p *plan, t tree, puts *uploader, step func(int64)) *filler {
	f := &filler{plan: p, tree: t, puts: puts, step: step, indexes: map[int]blob.Digest{}}
	if prev := p.prev; prev != nil {
		f.prevFiles, f.packFiles = make([]int, prev.Chunks()), make([]int, prev.Blobs())
		cur := prev.Cursor()
		for i := range prev.Len() {
			if prev.Type(i) == manifest.File {
				f.prevFiles[prev.ChunkOf(i)]++
				if x := cur.Locate(i); x.Blob >= 0 {
					f.packFiles[x.Blob]++
				}
			}
		}
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
			if old := f.prev.ChunkHead(pk); old.Kind != head.Kind || old.Root != f.from[head.Root] || f.prevFiles[pk] != len(c.files) {
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
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	f.learn(i, n, size, blob.Sum(b))
	if size >= manifest.OwnSize {
		if f.stored(i) {
			return nil
		}
		return f.puts.put(n.digest, b)
	}
	c := &f.parts[f.spec.Entries[i].Chunk]
	if c.dropped || size == 0 {
		return nil
	}
	if c.kept == nil {
		c.kept = map[int][]byte{}
	}
	c.kept[i] = b
	if c.keptSize += len(b); c.keptSize > retain {
		c.kept, c.keptSize, c.dropped = nil, 0, true
	}
	return nil
}

// takeBlocks never holds more than a block of the file.
func (f *filler) takeBlocks(i int, n *node, size int64, r io.Reader) error {
	whole := blake3.New()
	var index []byte
	for left := size; left > 0; left -= manifest.BlockSize {
		b := make([]byte, min(left, manifest.BlockSize))
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		whole.Write(b)
		d := blob.Sum(b)
		index = append(index, d[:]...)
		if err := f.puts.put(d, b); err != nil {
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

// finish packs a chunk whose files are all known. While the tree is being read,
// a chunk that needs contents it does not have is put off.
func (f *filler) finish(ctx context.Context, k int, reading bool) error {
	c := &f.parts[k]
	if c.reused = f.reusable(k); c.reused { // what was read turned out to be as before
		c.kept = nil
		return nil
	}
	root := f.path(f.spec.Chunks[k].Root)
	var small []pack.File
	var entries []int
	for _, i := range c.files {
		if e := &f.spec.Entries[i]; e.Size > 0 && e.Size < manifest.OwnSize {
			small, entries = append(small, pack.File{Path: f.path(i)[len(root):], Size: e.Size}), append(entries, i)
		}
	}
	packs := make(map[int][]int) // members by the first
	var need [][]int
	for _, n := range pack.Plan(small) {
		members := entries[:n]
		entries = entries[n:]
		packs[members[0]] = members
		if f.oldPack(members) < 0 {
			need = append(need, members)
		}
	}
	if reading && !f.complete(c, need) {
		f.later = append(f.later, k)
		if f.held += c.keptSize; f.held > retain {
			f.held -= c.keptSize
			c.kept, c.keptSize = nil, 0
		}
		return nil
	}
	made := map[int]blob.Digest{}
	for _, members := range need {
		d, err := f.pack(ctx, c, members)
		if err != nil {
			return err
		}
		made[members[0]] = d
	}
	c.kept = nil
	return f.assign(k, packs, made)
}

// oldPack is the previous pack of exactly these files, or -1.
func (f *filler) oldPack(members []int) int {
	old := -1
	for _, i := range members {
		if !f.stored(i) {
			return -1
		}
		x := f.prev.Locate(f.from[i])
		if old >= 0 && x.Blob != old {
			return -1
		}
		old = x.Blob
	}
	if f.packFiles[old] != len(members) {
		return -1
	}
	return old
}

func (f *filler) complete(c *part, packs [][]int) bool {
	for _, members := range packs {
		for _, i := range members {
			if _, ok := c.kept[i]; !ok {
				return false
			}
		}
	}
	return true
}

// pack concatenates the members' contents, reading again what is not at hand.
func (f *filler) pack(ctx context.Context, c *part, members []int) (blob.Digest, error) {
	var missing []*node
	contents := map[*node][]byte{}
	for _, i := range members {
		if _, ok := c.kept[i]; !ok {
			n, err := f.node(ctx, i)
			if err != nil {
				return blob.Digest{}, err
			}
			missing = append(missing, n)
		}
	}
	if len(missing) == 0 {
		return f.join(c, members, nil)
	}
	if err := f.tree.read(ctx, missing, func(n *node, _ int64, r io.Reader) (err error) {
		contents[n], err = io.ReadAll(io.LimitReader(r, manifest.OwnSize))
		return err
	}); err != nil {
		return blob.Digest{}, err
	}
	return f.join(c, members, contents)
}

func (f *filler) join(c *part, members []int, again map[*node][]byte) (blob.Digest, error) {
	var b []byte
	for _, i := range members {
		content, ok := c.kept[i]
		if !ok {
			content = again[f.nodes[i]]
			if e := &f.spec.Entries[i]; blob.Sum(content) != e.Digest {
				return blob.Digest{}, &RefusedError{fmt.Sprintf("%q changed while it was read", f.path(i))}
			}
		}
		b = append(b, content...)
	}
	d := blob.Sum(b)
	return d, f.puts.put(d, b)
}

// node is entry i's node, which a copied entry gets by listing its directories.
func (f *filler) node(ctx context.Context, i int) (*node, error) {
	if n := f.nodes[i]; n != nil {
		return n, nil
	}
	dir, err := f.node(ctx, f.up[i])
	if err != nil {
		return nil, err
	}
	if dir.kids == nil {
		if err := f.tree.list(ctx, []*node{dir}, f.prev); err != nil {
			return nil, err
		}
	}
	for _, k := range dir.kids {
		if k.name == f.spec.Entries[i].Name {
			f.nodes[i] = k
			return k, nil
		}
	}
	return nil, fmt.Errorf("%q is in the previous manifest but not in the same git tree", f.path(i))
}

func (f *filler) path(i int) string {
	if i == 0 {
		return ""
	}
	return f.path(f.up[i]) + "/" + f.spec.Entries[i].Name
}

// assign lists the chunk's blobs in the order of first use; Blob is an index
// into that list until number.
func (f *filler) assign(k int, packs map[int][]int, made map[int]blob.Digest) error {
	c := &f.parts[k]
	for _, i := range c.files {
		e := &f.spec.Entries[i]
		r := manifest.SpecBlob{Kind: manifest.WhereSize(e.Size), Digest: e.Digest, Chunk: k}
		switch r.Kind {
		case manifest.Empty:
			continue
		case manifest.Pack:
			members, first := packs[i]
			if !first {
				continue
			}
			var ok bool
			if r.Digest, ok = made[i]; !ok {
				r.Digest = f.prev.Blob(f.oldPack(members)).Digest
			}
			for _, j := range members {
				f.spec.Entries[j].Blob = len(c.blobs)
			}
		case manifest.Own:
			e.Blob = len(c.blobs)
		case manifest.Blocks:
			var ok bool
			if r.Digest, ok = f.indexes[i]; !ok {
				r.Digest = f.prev.Blob(f.prev.Locate(f.from[i]).Blob).Digest
			}
			e.Blob = len(c.blobs)
		}
		c.blobs = append(c.blobs, r)
	}
	return nil
}

// number turns each chunk's own blob numbers into the manifest's.
func (f *filler) number() {
	var cur *manifest.Cursor
	if f.prev != nil {
		cur = f.prev.Cursor()
	}
	for k := range f.parts {
		c := &f.parts[k]
		base := len(f.spec.Blobs)
		for _, i := range c.files {
			e := &f.spec.Entries[i]
			switch {
			case e.Size == 0:
			case c.reused:
				e.Blob = cur.Locate(f.from[i]).Blob - c.first + base
			default:
				e.Blob += base
			}
		}
		f.spec.Blobs = append(f.spec.Blobs, c.blobs...)
	}
}
