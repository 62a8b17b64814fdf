package chunkfs

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
		f.dirAttr(out.NodeId, f.started, &out.Attr)
		return fuse.OK
	}
	if name == envDirName {
		return f.lookupEnvDir(ctx, out)
	}
	if _, is := head.EnvName(name); is || head.CheckCourse(name) != nil {
		return fuse.ENOENT
	}
	return f.lookupNamed(ctx, name, out)
}

func (f *FS) lookupNamed(ctx context.Context, name string, out *fuse.EntryOut) fuse.Status {
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
	f.dirAttr(out.NodeId, f.listedAt(ctx, out.NodeId), &out.Attr) // attributes for no time: listings change
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
	if _, is := head.EnvName(course); is {
		return f.lookupEnvVersion(ctx, course, name, out)
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

// listings are the names last seen in directories that change. A reader is
// given one list from its first to its last READDIR, so that no name comes twice
// or is left out. The kernel keeps listings too, and forgets them when a
// directory's mtime moves; so the mtime is the moment at which a change was seen.
type listings struct {
	mu    sync.Mutex // guards lists
	lists map[uint64]listing
}

type listing struct {
	at      time.Time // when the store was asked
	changed time.Time // when it first answered so
	entries []fuse.DirEntry
}

func (ls *listings) get(id uint64) (l listing, ok bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l, ok = ls.lists[id]
	return l, ok
}

func (ls *listings) put(id uint64, entries []fuse.DirEntry) listing {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.lists == nil {
		ls.lists = make(map[uint64]listing)
	}
	now := time.Now()
	l := listing{at: now, changed: now, entries: entries}
	if old, ok := ls.lists[id]; ok && slices.Equal(old.entries, entries) {
		l.changed = old.changed
	}
	ls.lists[id] = l
	return l
}

// list returns the names in id, asked for at most HeadTTL ago, or earlier for a
// reader that is past the first.
func (f *FS) list(ctx context.Context, id uint64, offset uint64) (listing, error) {
	l, ok := f.listings.get(id)
	if ok && (offset > 0 || time.Since(l.at) < f.cfg.HeadTTL) {
		return l, nil
	}
	return once(ctx, f, fmt.Sprintf("list %d", id), func(ctx context.Context) (listing, error) {
		entries, err := f.listFresh(ctx, id)
		if err != nil {
			return listing{}, err
		}
		return f.listings.put(id, entries), nil
	})
}

// listedAt is the mtime of a directory that changes. One that was never listed
// needs no question to the store: nobody has a listing of it.
func (f *FS) listedAt(ctx context.Context, id uint64) time.Time {
	l, ok := f.listings.get(id)
	if !ok {
		return f.started
	}
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Deadline/5)
	defer cancel()
	if fresh, err := f.list(ctx, id, 0); err == nil {
		l = fresh
	}
	return l.changed
}

func (f *FS) listFresh(ctx context.Context, id uint64) (entries []fuse.DirEntry, err error) {
	add := func(name string, mode uint32) {
		entries = append(entries, fuse.DirEntry{Name: name, Mode: mode})
	}
	switch {
	case id == rootNode, id == chunksNode(0), id == envDirNode:
		return f.listCourses(ctx, id == envDirNode)
	case id == statusDirNode:
		for _, s := range statusNames {
			add(s, syscall.S_IFREG)
		}
		add(chunksDirName, syscall.S_IFDIR)
		return entries, nil
	}
	suffix, mode := "", uint32(syscall.S_IFDIR)
	n, _ := splitPlace(id)
	if of, ok := splitChunks(id); ok {
		n, suffix, mode = of, chunksSuffix, syscall.S_IFREG
	}
	sl, _ := f.state.slot(n)
	switch _, _, err := f.heads.current(ctx, sl.course); {
	case err != nil && !errors.Is(err, head.ErrNotFound):
		return nil, err
	case err == nil && suffix == "":
		add(currentName, syscall.S_IFLNK)
	}
	err = f.cfg.Heads.ListVersions(ctx, sl.course, func(s head.Stored) error {
		if s.Removed.IsZero() {
			add(s.Version.Version+suffix, mode)
		}
		return nil
	})
	sort.Slice(entries, func(i, j int) bool { return strings.Compare(entries[i].Name, entries[j].Name) < 0 })
	return entries, err
}
