package syncer

import (
	"slices"

	"github.com/prairielambda/prairielambda/internal/manifest"
)

// Most pushes change what some files hold and no name. Then the plan covers the
// chunks of these files only, and the manifest is the previous one with some
// rows replaced, so that the work per file of the course is that of a copy.

// delta compares the expanded directories with the previous version.
type delta struct {
	prev  *manifest.Manifest
	nodes map[int]*node // what was expanded, by its previous entry
	files []*node       // of another content or mode, as far as is known
	trees []*node       // directories of another git tree
}

// walk fails where a name came, went, or means another thing than before.
func (x *delta) walk(d *node) bool {
	first, n := x.prev.Children(d.prev)
	if d.was != d.state || n != len(d.kids) {
		return false
	}
	x.nodes[d.prev] = d
	x.trees = append(x.trees, d)
	for j, k := range d.kids {
		if k.prev != first+j { // both are sorted: another name or type
			return false
		}
		x.nodes[k.prev] = k
		switch k.typ {
		case manifest.Dir:
			if !k.same && !x.walk(k) {
				return false
			}
		case manifest.File:
			if !k.known {
				x.files = append(x.files, k)
				continue
			}
			if was := x.prev.Entry(k.prev); was.Exec != k.exec || was.Digest != k.digest {
				x.files = append(x.files, k)
			}
		default:
			if x.prev.Entry(k.prev).Target != k.target {
				return false
			}
		}
	}
	return true
}

// sparse is the plan of a tree that has the names it had, or nil if that is not
// so or would save nothing.
func sparse(root *node, prev *manifest.Manifest, treeLen int) *plan {
	if prev == nil || prev.TreeLen() != treeLen || prev.Kind() != manifest.Course {
		return nil
	}
	x := &delta{prev: prev, nodes: map[int]*node{}}
	if !x.walk(root) || len(x.files) > prev.Files()/4 {
		return nil
	}
	p := &plan{prev: prev, patch: &manifest.Patch{}}
	touched := map[int]int{} // previous chunk -> its number in the plan
	for _, n := range x.files {
		touched[prev.ChunkOf(n.prev)] = 0
	}
	for k := range touched {
		p.patch.Chunks = append(p.patch.Chunks, k)
	}
	slices.Sort(p.patch.Chunks)
	for c, k := range p.patch.Chunks {
		touched[k] = c
	}
	for _, d := range x.trees {
		if treeLen > 0 {
			p.patch.Trees = append(p.patch.Trees, manifest.PatchTree{Entry: d.prev, Tree: manifest.TreeID(d.id)})
		}
	}
	// The files of these chunks, and the directories on the way to them.
	with := map[int]bool{0: true}
	for i := range prev.Len() {
		if _, ok := touched[prev.ChunkOf(i)]; ok && prev.Type(i) == manifest.File {
			for ; !with[i]; i = prev.Parent(i) {
				with[i] = true
			}
		}
	}
	for i := range with {
		p.from = append(p.from, i)
	}
	slices.Sort(p.from)
	at := func(i int) int { j, _ := slices.BinarySearch(p.from, i); return j }
	for _, i := range p.from {
		e := manifest.SpecEntry{Entry: prev.Entry(i), Blob: -1, Chunk: touched[prev.ChunkOf(i)]}
		n := x.nodes[i]
		if n != nil && n.typ == manifest.File {
			e.Exec, e.Size, e.Digest = n.exec, n.size, n.digest
		}
		p.spec.Entries = append(p.spec.Entries, e)
		p.nodes = append(p.nodes, n)
		p.up = append(p.up, at(prev.Parent(i)))
	}
	for _, k := range p.patch.Chunks {
		c := prev.ChunkHead(k)
		p.spec.Chunks = append(p.spec.Chunks, manifest.SpecChunk{Kind: c.Kind, Root: at(c.Root)})
	}
	return p
}
