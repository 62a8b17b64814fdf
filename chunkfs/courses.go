package chunkfs

import (
	"context"
	"errors"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// The two levels above a version. What is there may be believed for long, since
// versions are immutable; what is not there may appear at any moment, so its absence is never cached.

const currentName = "current"

func (f *FS) lookupCourse(ctx context.Context, name string, out *fuse.EntryOut) fuse.Status {
	if name == statusDirName {
		out.NodeId = statusDirNode
		out.SetEntryTimeout(forever)
		f.dirAttr(out.NodeId, time.Now(), &out.Attr)
		return fuse.OK
	}
	if head.CheckCourse(name) != nil {
		return fuse.ENOENT
	}
	if err := f.heads.exists(ctx, name); err != nil {
		return f.errno("lookup", err)
	}
	slot, err := f.state.course(name)
	if err != nil {
		return f.errno("lookup", err)
	}
	if sl, _ := f.state.slot(slot); sl.current != 0 {
		f.versions.warm(sl.current)
	}
	out.NodeId = placeNode(slot, 0)
	out.SetEntryTimeout(forever)
	f.dirAttr(out.NodeId, time.Now(), &out.Attr) // attributes for no time: listings change
	return fuse.OK
}

func (f *FS) lookupVersion(ctx context.Context, course, name string, out *fuse.EntryOut) fuse.Status {
	if name == currentName {
		slot, ttl, err := f.heads.current(ctx, course)
		if err != nil {
			return f.errno("lookup", err)
		}
		f.versions.warm(slot)
		sl, _ := f.state.slot(slot)
		out.NodeId = placeNode(slot, linkEntry)
		out.SetEntryTimeout(ttl)
		out.SetAttrTimeout(forever)
		f.linkAttr(out.NodeId, sl, &out.Attr)
		return fuse.OK
	}
	if head.CheckVersion(name) != nil {
		return fuse.ENOENT
	}
	slot, err := f.heads.version(ctx, course, name)
	if err != nil {
		return f.errno("lookup", err)
	}
	f.versions.warm(slot)
	sl, _ := f.state.slot(slot)
	out.NodeId = placeNode(slot, 0)
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	f.dirAttr(out.NodeId, manifest.ModTime(sl.manifest), &out.Attr)
	return fuse.OK
}

func (f *FS) linkAttr(id uint64, sl slot, a *fuse.Attr) {
	f.attr(id, syscall.S_IFLNK|0o777, int64(len(sl.version)), manifest.ModTime(sl.manifest), a)
}

// listings keep the names of a changing directory from the first to the last
// READDIR of a reader, so that none is given twice or left out.
type listings struct {
	mu    sync.Mutex // guards lists
	lists map[uint64]listing
}

type listing struct {
	at      time.Time
	entries []fuse.DirEntry
}

const listingAge = 30 * time.Second

func (f *FS) list(ctx context.Context, id uint64, offset uint64) ([]fuse.DirEntry, error) {
	ls := &f.listings
	if offset > 0 {
		ls.mu.Lock()
		l, ok := ls.lists[id]
		ls.mu.Unlock()
		if ok && time.Since(l.at) < listingAge {
			return l.entries, nil
		}
	}
	entries, err := f.listFresh(ctx, id)
	if err != nil {
		return nil, err
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.lists == nil || len(ls.lists) > 1000 {
		ls.lists = make(map[uint64]listing)
	}
	ls.lists[id] = listing{time.Now(), entries}
	return entries, nil
}

func (f *FS) listFresh(ctx context.Context, id uint64) (entries []fuse.DirEntry, err error) {
	add := func(name string, mode uint32) {
		entries = append(entries, fuse.DirEntry{Name: name, Mode: mode})
	}
	switch {
	case id == rootNode:
		courses, err := f.cfg.Heads.List(ctx)
		for _, c := range courses {
			add(c, syscall.S_IFDIR)
		}
		return entries, err
	case id == statusDirNode:
		for _, s := range statusNames {
			add(s, syscall.S_IFREG)
		}
		return entries, nil
	}
	n, _ := splitPlace(id)
	sl, _ := f.state.slot(n)
	if _, _, err := f.heads.current(ctx, sl.course); err == nil {
		add(currentName, syscall.S_IFLNK)
	} else if !errors.Is(err, head.ErrNotFound) {
		return nil, err
	}
	err = f.cfg.Heads.ListVersions(ctx, sl.course, func(s head.Stored) error {
		if s.Removed.IsZero() {
			add(s.Version.Version, syscall.S_IFDIR)
		}
		return nil
	})
	sort.Slice(entries, func(i, j int) bool { return strings.Compare(entries[i].Name, entries[j].Name) < 0 })
	return entries, err
}
