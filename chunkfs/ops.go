package chunkfs

import (
	"context"
	"errors"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// The methods below are the whole of what a kernel asks a read-only, no-open
// filesystem. A closed cancel channel alone ends none of them: it closes whenever the
// reader gets any signal, such as the SIGURG with which the Go runtime preempts
// itself, and a reader that is told EINTR for a file may not know what to do. See caller.

var _ fuse.RawFileSystem = (*FS)(nil)

// String names the filesystem in /proc/mounts.
func (f *FS) String() string { return "chunkfs" }

func (f *FS) request(cancel <-chan struct{}, h *fuse.InHeader) (context.Context, context.CancelFunc) {
	return context.WithTimeout(withCaller(f.ctx, caller{cancel, h.Pid}), f.cfg.Deadline)
}

// errno is the one place where errors become what a reader sees. Only a store's
// own word makes something not exist; a missing blob of a known version is damage.
func (f *FS) errno(op string, err error) fuse.Status {
	switch {
	case err == nil:
		return fuse.OK
	case errors.Is(err, head.ErrNotFound):
		return fuse.ENOENT
	case errors.Is(err, errKilled):
		return fuse.EINTR
	}
	f.ops.failed.Add(1)
	f.cfg.Log.Warn().Err(err).Str("op", op).Msg("answered EIO")
	return fuse.EIO
}

// Open answers ENOSYS, once: from then on the kernel opens files and reads warm
// ones without asking. Every file may be kept in the page cache for ever.
func (f *FS) Open(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.ENOSYS }

// OpenDir likewise; the kernel then also keeps listings, until a directory's mtime changes.
func (f *FS) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.ENOSYS }

// Forget has nothing to do: an id is computed, not counted.
func (f *FS) Forget(id, _ uint64) { f.status.forget(id) }

// Lookup finds name in a directory.
func (f *FS) Lookup(c <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	ctx, cancel := f.request(c, h)
	defer cancel()
	switch {
	case h.NodeId == rootNode:
		return f.lookupCourse(ctx, name, out)
	case h.NodeId == statusDirNode:
		return f.lookupStatus(ctx, name, out)
	case h.NodeId == envDirNode:
		return f.lookupEnv(ctx, name, out)
	case f.isChunksDir(h.NodeId):
		return f.lookupChunks(ctx, h.NodeId, name, out)
	case h.NodeId&tagMask != tagPlace:
		return fuse.ENOTDIR
	}
	slot, dir := splitPlace(h.NodeId)
	if sl, ok := f.state.slot(slot); ok && sl.version == "" {
		return f.lookupVersion(ctx, sl.course, name, out)
	}
	v, err := f.versions.get(ctx, slot)
	if err != nil {
		return f.errno("lookup", err)
	}
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	if dir >= v.Len() {
		return fuse.EIO
	}
	i, ok := v.Lookup(dir, name)
	if !ok {
		return fuse.OK // node 0: remember that there is none
	}
	e := v.Entry(i)
	out.NodeId = f.nodeOf(v, i, &e)
	f.entryAttr(v, i, &e, out.NodeId, &out.Attr)
	return fuse.OK
}

// GetAttr answers for any id that the kernel still knows.
func (f *FS) GetAttr(c <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	ctx, cancel := f.request(c, &in.InHeader)
	defer cancel()
	id := in.NodeId
	switch {
	case id == statusDirNode:
		f.dirAttr(id, f.started, &out.Attr)
		return fuse.OK
	case id == rootNode, id == envDirNode, f.isChunksDir(id):
		f.dirAttr(id, f.listedAt(ctx, id), &out.Attr)
		return fuse.OK
	case id&tagMask == 0:
		out.SetTimeout(forever)
		return f.errno("getattr", f.chunksAttr(ctx, id, &out.Attr))
	case id&tagMask == tagStatus:
		return f.statusAttr(id, out)
	case id&tagMask == tagPlace:
		slot, entry := splitPlace(id)
		sl, ok := f.state.slot(slot)
		switch {
		case ok && sl.version == "":
			f.dirAttr(id, f.listedAt(ctx, id), &out.Attr)
			return fuse.OK
		case ok && entry == linkEntry:
			out.SetTimeout(forever)
			f.linkAttr(id, sl, &out.Attr)
			return fuse.OK
		}
	}
	v, i, err := f.resolve(ctx, id)
	if err != nil {
		return f.errno("getattr", err)
	}
	e := v.Entry(i)
	out.SetTimeout(forever)
	f.entryAttr(v, i, &e, id, &out.Attr)
	return fuse.OK
}

var errStale = errors.New("unknown node")

// resolve finds a place for an id inside a version.
func (f *FS) resolve(ctx context.Context, id uint64) (*version, int, error) {
	place := id
	if id&tagMask == tagShared {
		var ok bool
		if place, ok = f.state.content.get(id); !ok {
			return nil, 0, errStale
		}
	}
	if place&tagMask != tagPlace {
		return nil, 0, errStale
	}
	slot, i := splitPlace(place)
	v, err := f.versions.get(ctx, slot)
	if err != nil {
		return nil, 0, err
	}
	if i >= v.Len() {
		return nil, 0, errStale
	}
	return v, i, nil
}

// Readlink answers for a course's symlinks and for `current`. The kernel keeps
// the answer: neither changes for a given node.
func (f *FS) Readlink(c <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	ctx, cancel := f.request(c, h)
	defer cancel()
	if slot, entry := splitPlace(h.NodeId); h.NodeId&tagMask == tagPlace && entry == linkEntry {
		if sl, ok := f.state.slot(slot); ok {
			return []byte(sl.version), fuse.OK
		}
	}
	v, i, err := f.resolve(ctx, h.NodeId)
	if err != nil {
		return nil, f.errno("readlink", err)
	}
	e := v.Entry(i)
	if e.Type != manifest.Symlink {
		return nil, fuse.EINVAL
	}
	return []byte(e.Target), fuse.OK
}

// StatFs shows the cache's room, the only room there is.
func (f *FS) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	st := f.cfg.Cache.Stats()
	out.Bsize, out.Frsize, out.NameLen = 4096, 4096, 255
	out.Blocks, out.Bfree = uint64(st.MaxBytes/4096), uint64((st.MaxBytes-st.Bytes)/4096)
	out.Files, out.Ffree = uint64(st.MaxFiles), uint64(st.MaxFiles-st.Files)
	return fuse.OK
}
