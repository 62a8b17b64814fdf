package chunkfs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// forever is how long the kernel may believe what lies inside a version.
const forever = 24 * time.Hour

func (f *FS) dirAttr(id uint64, mtime time.Time, a *fuse.Attr) {
	f.attr(id, syscall.S_IFDIR|0o555, 0, mtime, a)
}

// attr fills what every node has. Link counts are 1, directories included: that
// tells find not to count on them, and tar not to look for hard links among files that share a node.
func (f *FS) attr(id uint64, mode uint32, size int64, mtime time.Time, a *fuse.Attr) {
	*a = fuse.Attr{
		Ino: id, Mode: mode, Nlink: 1, Size: uint64(size), Blocks: uint64(size+511) / 512,
		Owner: fuse.Owner{Uid: f.uid, Gid: f.gid}, Blksize: 4096,
	}
	s, ns := uint64(mtime.Unix()), uint32(mtime.Nanosecond())
	a.Mtime, a.Ctime, a.Atime = s, s, s
	a.Mtimensec, a.Ctimensec, a.Atimensec = ns, ns, ns
}

// entryAttr fills the attributes of entry i of v. Those of a course's file follow
// from (mode, digest) alone, because its node is shared by all versions.
func (f *FS) entryAttr(v *version, i int, e *manifest.Entry, id uint64, a *fuse.Attr) {
	mtime := v.modTime
	switch e.Type {
	case manifest.File, manifest.Symlink:
		if e.Type == manifest.File {
			mtime = manifest.ModTime(e.Digest)
		}
		f.attr(id, entryMode(e), e.Size, mtime, a)
	default:
		f.attr(id, entryMode(e), 0, mtime, a)
	}
	if v.Kind() == manifest.Tree {
		t := v.Attr(i)
		a.Mode = a.Mode&syscall.S_IFMT | uint32(t.Mode)
		a.Uid, a.Gid = t.UID, t.GID
		a.Rdev = t.Major<<8&0xfff00 | t.Minor&0xff | t.Minor<<12&0xfff00000
	}
}

func entryMode(e *manifest.Entry) uint32 {
	switch e.Type {
	case manifest.Dir:
		return syscall.S_IFDIR | 0o555
	case manifest.Symlink:
		return syscall.S_IFLNK | 0o777
	case manifest.CharDevice:
		return syscall.S_IFCHR
	case manifest.BlockDevice:
		return syscall.S_IFBLK
	case manifest.Fifo:
		return syscall.S_IFIFO
	case manifest.Socket:
		return syscall.S_IFSOCK
	}
	if e.Exec {
		return syscall.S_IFREG | 0o555
	}
	return syscall.S_IFREG | 0o444
}

// nodeOf is the id of entry i: that of its content for a course's regular
// file, that of its place for everything else.
func (f *FS) nodeOf(v *version, i int, e *manifest.Entry) uint64 {
	place := placeNode(v.n, i)
	if v.Kind() == manifest.Tree {
		return placeNode(v.n, v.Link(i))
	}
	if e.Type != manifest.File {
		return place
	}
	id, check := contentKey(v.key, e.Exec, e.Digest)
	ok, err := f.state.content.put(id, check, place, func(old uint64) bool {
		slot, _ := splitPlace(old)
		_, loaded := f.versions.loaded(slot)
		return !loaded // ours is loaded, so reads through it need no other manifest
	})
	if err != nil {
		f.cfg.Log.Error().Err(err).Msg("a file is not shared between versions")
	}
	if !ok || err != nil {
		return place
	}
	return id
}
