package chunkfs

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
	blobdir "github.com/prairielambda/prairielambda/internal/blob/dir"
	"github.com/prairielambda/prairielambda/internal/head"
	headdir "github.com/prairielambda/prairielambda/internal/head/dir"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"github.com/stretchr/testify/require"
)

// push stores the tree at src as a version of course and makes it current. It
// lays blobs out by the simplest rules: the chunks of a course, and packs filled in order.
func push(t testing.TB, store, course, src string) (version string) {
	t.Helper()
	ctx := context.Background()
	blobs, err := blobdir.Open(store + "/blobs")
	require.NoError(t, err)
	defer blobs.Close()
	put := func(b []byte) blob.Digest {
		d := blob.Sum(b)
		require.NoError(t, blobs.Put(ctx, d, b))
		return d
	}
	m, err := manifest.Encode(layOut(t, src, put))
	require.NoError(t, err)
	d := put(m.Bytes())
	require.NoError(t, blobs.Sync(ctx))
	version = hex.EncodeToString(d[:20])
	heads := headdir.New(store)
	now := time.Now()
	_, err = heads.PutVersion(ctx, head.Version{Course: course, Version: version, Manifest: d, Time: now, Files: m.Files()})
	require.NoError(t, err)
	old, token, err := heads.Get(ctx, course)
	if !errors.Is(err, head.ErrNotFound) {
		require.NoError(t, err)
	}
	require.NoError(t, heads.Swap(ctx, course, token, head.Head{Course: course, Version: version, Manifest: d, Sequence: old.Sequence + 1, Time: now}))
	return version
}

func layOut(t testing.TB, src string, put func([]byte) blob.Digest) *manifest.Spec {
	s := &manifest.Spec{Kind: manifest.Course, Chunks: []manifest.SpecChunk{{Kind: manifest.Rest}}}
	type dir struct {
		path         string
		entry, chunk int
		state        manifest.State
	}
	var files []dir
	s.Entries = append(s.Entries, manifest.SpecEntry{})
	for queue := []dir{{src, 0, 0, manifest.CourseRoot}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		names, err := os.ReadDir(at.path)
		require.NoError(t, err)
		s.Entries[at.entry].Children = len(names)
		for _, n := range names {
			info, err := n.Info()
			require.NoError(t, err)
			here := dir{filepath.Join(at.path, n.Name()), len(s.Entries), at.chunk, 0}
			e := manifest.SpecEntry{Entry: manifest.Entry{Name: n.Name()}, Chunk: at.chunk}
			switch {
			case info.IsDir():
				e.Type = manifest.Dir
				var kind manifest.ChunkKind
				here.state, kind = at.state.Enter(n.Name(), func(file string) bool {
					_, err := os.Stat(filepath.Join(here.path, file))
					return err == nil
				})
				if kind != manifest.Rest {
					here.chunk = len(s.Chunks)
					e.Chunk = here.chunk
					s.Chunks = append(s.Chunks, manifest.SpecChunk{Kind: kind, Root: here.entry})
				}
				queue = append(queue, here)
			case info.Mode()&os.ModeSymlink != 0:
				e.Type = manifest.Symlink
				e.Target, err = os.Readlink(here.path)
				require.NoError(t, err)
			default:
				e.Type, e.Size, e.Exec = manifest.File, info.Size(), info.Mode()&0o100 != 0
				files = append(files, here)
			}
			s.Entries = append(s.Entries, e)
		}
	}
	for chunk := range s.Chunks {
		var pack []byte
		at := -1
		flush := func() {
			if at >= 0 {
				s.Blobs[at].Digest = put(pack)
			}
			pack, at = nil, -1
		}
		for _, f := range files {
			if f.chunk != chunk {
				continue
			}
			b, err := os.ReadFile(f.path)
			require.NoError(t, err)
			e := &s.Entries[f.entry]
			e.Digest = blob.Sum(b)
			switch {
			case len(b) == 0:
			case len(b) < manifest.OwnSize:
				if len(pack)+len(b) > manifest.PackSize {
					flush()
				}
				if at < 0 {
					at = len(s.Blobs)
					s.Blobs = append(s.Blobs, manifest.SpecBlob{Kind: manifest.Pack, Chunk: chunk})
				}
				e.Blob = at
				pack = append(pack, b...)
			case len(b) <= manifest.BlockSize:
				e.Blob = len(s.Blobs)
				s.Blobs = append(s.Blobs, manifest.SpecBlob{Kind: manifest.Own, Digest: put(b), Chunk: chunk})
			default:
				var index []byte
				for rest := b; len(rest) > 0; {
					n := min(len(rest), manifest.BlockSize)
					d := put(rest[:n])
					index, rest = append(index, d[:]...), rest[n:]
				}
				e.Blob = len(s.Blobs)
				s.Blobs = append(s.Blobs, manifest.SpecBlob{Kind: manifest.Blocks, Digest: put(index), Chunk: chunk})
			}
		}
		flush()
	}
	return s
}
