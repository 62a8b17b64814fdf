package syncer

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"github.com/prairielambda/prairielambda/syncer/pack"
)

// finish packs a chunk whose files are all known. While the tree is being read,
// a chunk that needs contents it does not have is put off.
func (f *filler) finish(ctx context.Context, k int, reading bool) error {
	c := &f.parts[k]
	if c.reused = f.reusable(k); c.reused { // what was read turned out to be as before
		c.forget()
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
			c.forget()
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
	c.forget()
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
	if int(f.packFiles[old]) != len(members) {
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
	all := make([][]byte, 0, len(members))
	used := make([]content, 0, len(members))
	for _, i := range members {
		x, ok := c.kept[i]
		if ok {
			delete(c.kept, i)
			used = append(used, x)
		} else {
			x.b = again[f.nodes[i]]
			if e := &f.spec.Entries[i]; blob.Sum(x.b) != e.Digest {
				return blob.Digest{}, &RefusedError{fmt.Sprintf("%q changed while it was read", f.path(i))}
			}
		}
		all = append(all, x.b)
	}
	b := concat(all)
	d := blob.Sum(b)
	return d, f.puts.lend(d, b, func() {
		for _, x := range used {
			x.free()
		}
	})
}

// concat is the contents in a row, without a copy where they lie so already.
func concat(contents [][]byte) []byte {
	var b []byte
	for _, c := range contents {
		switch {
		case len(c) == 0:
		case len(b) == 0:
			b = c
		case cap(b)-len(b) >= len(c) && &b[:len(b)+1][len(b)] == &c[0]:
			b = b[:len(b)+len(c)]
		default:
			return bytes.Join(contents, nil)
		}
	}
	return b
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
	return nil, &RefusedError{fmt.Sprintf("%q went away while the tree was read; push again", f.path(i))}
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
