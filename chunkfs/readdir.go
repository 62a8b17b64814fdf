package chunkfs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Offsets in a directory: 0 is before ".", 1 before "..", 2+k before child k.
// Inside a version they mean the same for ever, so seeking back is exact.

// ReadDir lists names and types only.
func (f *FS) ReadDir(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(c, in, out, false)
}

// ReadDirPlus lists with attributes, so that a walk costs one request a directory.
func (f *FS) ReadDirPlus(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(c, in, out, true)
}

func (f *FS) readDir(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList, plus bool) fuse.Status {
	ctx, cancel := f.request(c, &in.InHeader)
	defer cancel()
	id := in.NodeId
	slot, dir := splitPlace(id)
	sl, ok := f.state.slot(slot)
	switch {
	case id == rootNode, id == statusDirNode, id == envDirNode, f.isChunksDir(id), id&tagMask == tagPlace && ok && sl.version == "":
		return f.readChanging(ctx, in, out, plus)
	case id&tagMask != tagPlace:
		return fuse.ENOTDIR
	}
	v, err := f.versions.get(ctx, slot)
	if err != nil {
		return f.errno("readdir", err)
	}
	if dir >= v.Len() {
		return fuse.EIO
	}
	parent := placeNode(sl.parent, 0)
	if dir != 0 && in.Offset < 2 {
		parent = placeNode(slot, v.Parent(dir))
	}
	if !addDots(out, in.Offset, id, parent, plus) {
		return fuse.OK
	}
	first, n := v.Children(dir)
	for k := max(in.Offset, 2) - 2; k < uint64(n); k++ {
		i := first + int(k)
		e := v.Entry(i)
		node := f.nodeOf(v, i, &e)
		de := fuse.DirEntry{Name: e.Name, Mode: entryMode(&e) & syscall.S_IFMT, Ino: node, Off: k + 3}
		if !plus {
			if !out.AddDirEntry(de) {
				break
			}
			continue
		}
		eo := out.AddDirLookupEntry(de)
		if eo == nil {
			break
		}
		eo.NodeId = node
		eo.SetEntryTimeout(forever)
		eo.SetAttrTimeout(forever)
		f.entryAttr(v, i, &e, node, &eo.Attr)
	}
	return fuse.OK
}

// readChanging lists courses, versions or status files. It gives no attributes
// (node 0): whoever wants them looks up, and so hears of failures.
func (f *FS) readChanging(ctx context.Context, in *fuse.ReadIn, out *fuse.DirEntryList, plus bool) fuse.Status {
	l, err := f.list(ctx, in.NodeId, in.Offset)
	if err != nil {
		return f.errno("readdir", err)
	}
	if !addDots(out, in.Offset, in.NodeId, rootNode, plus) {
		return fuse.OK
	}
	for k := max(in.Offset, 2) - 2; k < uint64(len(l.entries)); k++ {
		de := l.entries[k]
		de.Off = k + 3
		if !addBare(out, de, plus) {
			break
		}
	}
	return fuse.OK
}

func addDots(out *fuse.DirEntryList, offset, self, parent uint64, plus bool) bool {
	if offset == 0 && !addBare(out, fuse.DirEntry{Name: ".", Mode: syscall.S_IFDIR, Ino: self, Off: 1}, plus) {
		return false
	}
	return offset > 1 || addBare(out, fuse.DirEntry{Name: "..", Mode: syscall.S_IFDIR, Ino: parent, Off: 2}, plus)
}

func addBare(out *fuse.DirEntryList, de fuse.DirEntry, plus bool) bool {
	if plus {
		return out.AddDirLookupEntry(de) != nil
	}
	return out.AddDirEntry(de)
}
