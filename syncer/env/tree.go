package env

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// header is one entry as a source tells it.
type header struct {
	name         string // as in the source; see clean
	typ          manifest.Type
	link         bool   // a hard link to target
	target       string // of a symlink or hard link
	size         int64
	mode         uint16
	uid, gid     uint32
	major, minor uint32
	xattrs       []manifest.Xattr
	mtime        int64 // seconds; only for what compiled Python says of its source
}

// inode is a file, of which a tree may have several names.
type inode struct {
	typ    manifest.Type
	attr   manifest.Attr
	target string
	size   int64
	layer  int // that it came with
	seq    int // its number in the walk; -1 for an implied directory
	mtime  int64
	source *inode // of compiled Python; see bytecode.go

	// set when its content was read
	digest  blob.Digest
	index   blob.Digest // of its blocks
	spool   int64       // where a small file lies in the spool
	spooled bool
	elf     *elfFile // nil for what is none
}

// dirent is one name.
type dirent struct {
	ino   *inode
	kids  map[string]*dirent // of a directory
	layer int                // that gave the name
	clear int                // 1 + the layer that made it opaque
}

// tree is a flattened root filesystem.
type tree struct {
	root    *dirent
	entries int
	bytes   int64
	limits  Limits
	content map[int]*inode // files to read, by their number in the walk
}

func newTree(l Limits) *tree {
	dir := &inode{typ: manifest.Dir, attr: manifest.Attr{Mode: 0o755}, layer: -1, seq: -1}
	return &tree{root: &dirent{ino: dir, kids: map[string]*dirent{}, layer: -1}, limits: l, content: map[int]*inode{}}
}

// flatten walks the source once, without its contents.
func flatten(ctx context.Context, src Source, limits Limits) (*tree, error) {
	t := newTree(limits)
	seq := 0
	err := src.walk(ctx, func(layer int, h *header, _ io.Reader) error {
		err := t.add(layer, seq, h)
		seq++
		return err
	})
	if err != nil {
		return nil, err
	}
	t.prune(t.root)
	findSources(t.root)
	return t, nil
}

const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
	aufs     = ".wh..wh." // AUFS's own bookkeeping
)

// add applies one entry of a layer.
func (t *tree) add(layer, seq int, h *header) error {
	if t.entries++; t.entries > t.limits.Entries {
		return refused("the image has more than %d entries", t.limits.Entries)
	}
	if h.size < 0 || h.size > manifest.MaxFile {
		return refused("%.200q has %d bytes; the largest file is %d", h.name, h.size, int64(manifest.MaxFile))
	}
	if t.bytes += h.size; t.bytes > t.limits.Bytes {
		return refused("the image unpacks to more than %d bytes", t.limits.Bytes)
	}
	parts, err := clean(h.name)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		if h.typ != manifest.Dir || h.link {
			return refused("the image's root is not a directory")
		}
		t.root.ino = h.inode(layer, seq)
		return nil
	}
	dir, err := t.parent(parts[:len(parts)-1], layer)
	if err != nil {
		return err
	}
	name := parts[len(parts)-1]
	if hidden, is := strings.CutPrefix(name, whiteout); is {
		return t.whiteout(dir, name, hidden, layer)
	}
	d := &dirent{layer: layer}
	if h.link {
		if d.ino, err = t.linked(h); err != nil {
			return err
		}
	} else {
		d.ino = h.inode(layer, seq)
	}
	if d.ino.typ == manifest.Symlink && (len(d.ino.target) == 0 || len(d.ino.target) > 4095 || strings.ContainsRune(d.ino.target, 0)) {
		return refused("the symlink %.200q leads to a name of %d bytes", h.name, len(d.ino.target))
	}
	old := dir.kids[name]
	switch {
	case old == nil:
	case old.ino.typ == manifest.Dir && d.ino.typ == manifest.Dir: // the layers' children merge
		old.ino, old.layer = d.ino, layer
		return nil
	case old.layer == layer:
		return refused("%.200q comes twice in one layer", h.name)
	case old.hasOf(layer):
		return refused("%.200q comes after entries below it in the same layer", h.name)
	}
	if d.ino.typ == manifest.Dir {
		d.kids = map[string]*dirent{}
	}
	dir.kids[name] = d
	if d.ino.typ == manifest.File && !h.link && d.ino.size > 0 {
		t.content[seq] = d.ino
	}
	return nil
}

// clean splits a name into its components; "./usr/" is usr, "." the root.
func clean(name string) ([]string, error) {
	if strings.HasPrefix(name, "/") {
		return nil, refused("%.200q is an absolute name", name)
	}
	if len(name) > 4096 || strings.ContainsRune(name, 0) {
		return nil, refused("%.60q... is a name of %d bytes, or holds NUL", name, len(name))
	}
	var parts []string
	for p := range strings.SplitSeq(name, "/") {
		switch {
		case p == "" || p == ".":
		case p == "..":
			return nil, refused("%.200q climbs out of its directory", name)
		case len(p) > 255:
			return nil, refused("the name %.60q... has %d bytes, more than 255", p, len(p))
		default:
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// parent finds a directory, making the ones that the source left out.
func (t *tree) parent(parts []string, layer int) (*dirent, error) {
	d := t.root
	for i, p := range parts {
		k := d.kids[p]
		switch {
		case k == nil:
			if t.entries++; t.entries > t.limits.Entries {
				return nil, refused("the image has more than %d entries", t.limits.Entries)
			}
			ino := &inode{typ: manifest.Dir, attr: manifest.Attr{Mode: 0o755}, layer: layer, seq: -1}
			k = &dirent{ino: ino, kids: map[string]*dirent{}, layer: layer}
			d.kids[p] = k
		case k.ino.typ == manifest.Symlink:
			return nil, refused("%.200q lies below the symlink %.200q", strings.Join(parts, "/"), strings.Join(parts[:i+1], "/"))
		case k.ino.typ != manifest.Dir:
			return nil, refused("%.200q lies below %.200q, which is no directory", strings.Join(parts, "/"), strings.Join(parts[:i+1], "/"))
		}
		d = k
	}
	return d, nil
}

// whiteout hides names of the layers below, and none of its own layer.
func (t *tree) whiteout(dir *dirent, name, hidden string, layer int) error {
	switch {
	case name == opaque && dir.clear == layer+1:
		return refused("a directory is made opaque twice in one layer")
	case name == opaque:
		dir.clear = layer + 1
		for k, d := range dir.kids {
			if !d.keep(layer) {
				delete(dir.kids, k)
			}
		}
		return nil
	case strings.HasPrefix(name, aufs):
		return nil
	case hidden == "" || hidden == "." || hidden == "..":
		return refused("the whiteout %q hides no name", name)
	}
	if d := dir.kids[hidden]; d != nil && !d.keep(layer) {
		delete(dir.kids, hidden)
	}
	return nil
}

// keep takes out of d what lower layers gave and says whether anything is left.
func (d *dirent) keep(layer int) bool {
	for k, kid := range d.kids {
		if !kid.keep(layer) {
			delete(d.kids, k)
		}
	}
	if d.layer == layer {
		return true
	}
	if len(d.kids) == 0 {
		return false
	}
	d.ino = &inode{typ: manifest.Dir, attr: manifest.Attr{Mode: 0o755}, layer: layer, seq: -1}
	return true
}

// hasOf says whether a layer gave anything below d.
func (d *dirent) hasOf(layer int) bool {
	for _, kid := range d.kids {
		if kid.layer == layer || kid.hasOf(layer) {
			return true
		}
	}
	return false
}

// linked finds what a hard link names.
func (t *tree) linked(h *header) (*inode, error) {
	parts, err := clean(strings.TrimPrefix(h.target, "/"))
	if err != nil {
		return nil, err
	}
	d := t.root
	for _, p := range parts {
		if d = d.kids[p]; d == nil {
			return nil, refused("%.200q is a hard link to %.200q, which is not there", h.name, h.target)
		}
	}
	if d.ino.typ == manifest.Dir {
		return nil, refused("%.200q is a hard link to the directory %.200q", h.name, h.target)
	}
	return d.ino, nil
}

// prune forgets contents that no name leads to any more.
func (t *tree) prune(root *dirent) {
	used := map[*inode]bool{}
	var visit func(*dirent)
	visit = func(d *dirent) {
		used[d.ino] = true
		for _, k := range d.kids {
			visit(k)
		}
	}
	visit(root)
	for seq, ino := range t.content {
		if !used[ino] {
			delete(t.content, seq)
		}
	}
}

func (h *header) inode(layer, seq int) *inode {
	i := &inode{typ: h.typ, target: h.target, layer: layer, seq: seq, mtime: h.mtime}
	i.attr = manifest.Attr{Mode: h.mode & 0o7777, UID: h.uid, GID: h.gid, Xattrs: h.xattrs}
	switch h.typ {
	case manifest.File:
		i.size, i.target = h.size, ""
	case manifest.CharDevice, manifest.BlockDevice:
		i.attr.Major, i.attr.Minor = h.major, h.minor
	}
	return i
}

// errChanged: the second walk did not pass what the first did.
func errChanged(name string) error {
	return fmt.Errorf("%q changed while the image was read; push again", name)
}
