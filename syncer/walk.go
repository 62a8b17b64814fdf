package syncer

import (
	"context"
	"fmt"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// expand reads the tree level by level, down to the directories that are as
// they were in prev, whose digest is was, and gives each directory its place in
// the course's layout.
func expand(ctx context.Context, t tree, prev *manifest.Manifest, was blob.Digest) (*node, error) {
	root := t.root()
	if prev != nil {
		root.prev = 0
	}
	level := []*node{root}
	for depth := 0; len(level) > 0; depth++ {
		if depth > 2000 {
			return nil, &RefusedError{fmt.Sprintf("%.60q...: directories nested more than 2,000 deep", level[0].path())}
		}
		if err := t.list(ctx, level, prev); err != nil {
			return nil, err
		}
		var next []*node
		for _, d := range level {
			place(d, prev)
			for _, k := range d.kids {
				if k.typ != manifest.Dir {
					continue
				}
				// An equal tree in an equal state has equal chunks below it.
				k.same = k.prev >= 0 && d.was == d.state && prev.TreeLen() == t.idLen() && t.unchanged(k, prev, was)
				if k.same {
					k.state, k.chunk = d.state.Enter(k.name, func(f string) bool { return prevHas(prev, k.prev, f) })
				} else {
					next = append(next, k)
				}
			}
		}
		level = next
	}
	return root, nil
}

// place derives a directory's state now and in the previous version.
func place(d *node, prev *manifest.Manifest) {
	if d.parent == nil {
		d.state = rootState(d.has(manifest.Marker))
		if d.prev >= 0 {
			d.was = rootState(prevHas(prev, 0, manifest.Marker))
		}
		return
	}
	d.state, d.chunk = d.parent.state.Enter(d.name, d.has)
	if d.prev >= 0 {
		d.was, _ = d.parent.was.Enter(d.name, func(f string) bool { return prevHas(prev, d.prev, f) })
	}
}

func rootState(course bool) manifest.State {
	if course {
		return manifest.CourseRoot
	}
	return manifest.TopRoot
}

func prevHas(prev *manifest.Manifest, dir int, name string) bool {
	i, ok := prev.Lookup(dir, name)
	return ok && prev.Entry(i).Type != manifest.Dir
}

// count is by how many nodes the tree from n down exceeds the previous one's.
func (n *node) count() int {
	c := 1
	if n.prev >= 0 {
		c = 0
	}
	for _, k := range n.kids {
		c += k.count()
	}
	return c
}

// flatten lays the tree out breadth first and numbers its chunks.
func flatten(root *node, prev *manifest.Manifest, treeLen int) *plan {
	p := &plan{prev: prev, spec: manifest.Spec{
		Kind: manifest.Course, TreeLen: treeLen,
		Chunks: []manifest.SpecChunk{{Kind: manifest.Rest}, {Kind: manifest.Thumbnails}},
	}}
	thumbs := false
	var cur *manifest.Cursor
	type item struct {
		n    *node // nil: copied from prev
		prev int
		up   int // the directory it lies in
	}
	queue := []item{{n: root, prev: root.prev}}
	size := root.count()
	if prev != nil {
		cur = prev.Cursor()
		size += prev.Len() // at most: what was removed is counted, too
	}
	queue = append(make([]item, 0, size), queue...)
	p.nodes, p.from, p.up = make([]*node, 0, size), make([]int, 0, size), make([]int, 0, size)
	p.spec.Entries = make([]manifest.SpecEntry, 0, size)
	for i := 0; i < len(queue); i++ {
		it := queue[i]
		e := manifest.SpecEntry{Blob: -1, Link: i}
		if i > 0 {
			e.Chunk = p.spec.Entries[it.up].Chunk
		}
		own := manifest.Rest
		if it.n != nil {
			n := it.n
			e.Entry = manifest.Entry{Name: n.name, Type: n.typ, Exec: n.exec, Target: n.target}
			if n.known {
				e.Size, e.Digest = n.size, n.digest
			}
			if n.typ == manifest.File && n.parent.state.Thumbnail(n.name) {
				e.Chunk, thumbs = 1, true
			}
			if n.typ == manifest.Dir {
				e.Tree, own = manifest.TreeID(n.id), n.chunk
			}
		} else {
			e.Entry = cur.Entry(it.prev)
			e.Tree = cur.TreeOf(it.prev)
			switch k := prev.ChunkHead(prev.ChunkOf(it.prev)); {
			case k.Kind == manifest.Thumbnails:
				e.Chunk, thumbs = 1, true
			case e.Type == manifest.Dir && k.Root == it.prev:
				own = k.Kind
			}
		}
		if own != manifest.Rest {
			e.Chunk = len(p.spec.Chunks)
			p.spec.Chunks = append(p.spec.Chunks, manifest.SpecChunk{Kind: own, Root: i})
		}
		if e.Type == manifest.Dir {
			if it.n != nil && !it.n.same {
				for _, k := range it.n.kids {
					queue = append(queue, item{n: k, prev: k.prev, up: i})
				}
				e.Children = len(it.n.kids)
			} else {
				first, n := cur.Children(it.prev)
				for c := first; c < first+n; c++ {
					queue = append(queue, item{prev: c, up: i})
				}
				e.Children = n
			}
		}
		p.spec.Entries = append(p.spec.Entries, e)
		p.nodes = append(p.nodes, it.n)
		p.from = append(p.from, it.prev)
		p.up = append(p.up, it.up)
	}
	if !thumbs {
		p.spec.Chunks = append(p.spec.Chunks[:1], p.spec.Chunks[2:]...)
		for i := range p.spec.Entries {
			if e := &p.spec.Entries[i]; e.Chunk > 1 {
				e.Chunk--
			}
		}
	}
	return p
}
