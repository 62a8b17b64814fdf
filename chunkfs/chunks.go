package chunkfs

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// .chunkfs/chunks/<course>/<version>.json says of what a version consists: the
// name of each chunk and the digest of all that a reader of the chunk can see. Whoever
// remembers results by what went into them reads it. Unlike a status file it never changes,
// so its node is the version's for ever, and the kernel keeps its text.

const (
	chunksDirName = "chunks"
	chunksSuffix  = ".json"
)

// chunksNode is the node of chunks/ for slot 0, of a course's directory in it, or of a version's file.
func chunksNode(slot uint32) uint64 { return uint64(slot)<<32 | chunksEntry }

func splitChunks(id uint64) (slot uint32, ok bool) {
	return uint32(id >> 32), id&tagMask == 0 && uint32(id) == chunksEntry
}

// isChunksDir says that id is a directory whose listing changes.
func (f *FS) isChunksDir(id uint64) bool {
	slot, ok := splitChunks(id)
	sl, known := f.state.slot(slot)
	return ok && (slot == 0 || known && sl.version == "")
}

func (f *FS) lookupChunks(ctx context.Context, dir uint64, name string, out *fuse.EntryOut) fuse.Status {
	slot, _ := splitChunks(dir)
	if slot == 0 {
		if head.CheckCourse(name) != nil {
			return fuse.ENOENT
		}
		if err := f.heads.exists(ctx, name); err != nil {
			return f.errno("lookup", err)
		}
		n, err := f.state.course(name)
		if err != nil {
			return f.errno("lookup", err)
		}
		out.NodeId = chunksNode(n)
		out.SetEntryTimeout(forever)
		f.dirAttr(out.NodeId, f.listedAt(ctx, out.NodeId), &out.Attr)
		return fuse.OK
	}
	sl, ok := f.state.slot(slot)
	version, suffixed := strings.CutSuffix(name, chunksSuffix)
	if !ok || sl.version != "" || !suffixed || head.CheckVersion(version) != nil {
		return fuse.ENOENT
	}
	n, err := f.heads.version(ctx, sl.course, version)
	if err != nil {
		return f.errno("lookup", err)
	}
	out.NodeId = chunksNode(n)
	if err := f.chunksAttr(ctx, out.NodeId, &out.Attr); err != nil {
		return f.errno("lookup", err)
	}
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	return fuse.OK
}

func (f *FS) chunksAttr(ctx context.Context, id uint64, a *fuse.Attr) error {
	text, err := f.chunksText(ctx, id)
	if err != nil {
		return err
	}
	slot, _ := splitChunks(id)
	sl, _ := f.state.slot(slot)
	f.attr(id, syscall.S_IFREG|0o444, int64(len(text)), manifest.ModTime(sl.manifest), a)
	return nil
}

func (f *FS) readChunks(ctx context.Context, in *fuse.ReadIn) (fuse.ReadResult, fuse.Status) {
	text, err := f.chunksText(ctx, in.NodeId)
	if err != nil {
		return nil, f.errno("read", err)
	}
	return fuse.ReadResultData(part(text, in)), fuse.OK
}

// lastChunks is the text made last: an open asks for its size, and reads follow.
type lastChunks struct {
	mu   sync.Mutex // guards the rest
	id   uint64
	text []byte
}

func (f *FS) chunksText(ctx context.Context, id uint64) ([]byte, error) {
	f.chunks.mu.Lock()
	last, text := f.chunks.id, f.chunks.text
	f.chunks.mu.Unlock()
	if last == id {
		return text, nil
	}
	slot, _ := splitChunks(id)
	v, err := f.versions.get(ctx, slot)
	if err != nil {
		return nil, err
	}
	digests := make(map[string]string, v.Chunks())
	for k := range v.Chunks() {
		c := v.Chunk(k)
		digests[c.Name] = c.Digest.String()
	}
	if text, err = json.Marshal(digests); err != nil {
		return nil, err
	}
	text = append(text, '\n')
	f.chunks.mu.Lock()
	defer f.chunks.mu.Unlock()
	f.chunks.id, f.chunks.text = id, text
	return text, nil
}
