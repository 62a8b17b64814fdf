package syncer

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// filesByBlob lists, for each blob of m, the files that lie in it.
func filesByBlob(m *manifest.Manifest) [][]int32 {
	files := make([][]int32, m.Blobs())
	for i := range m.Len() {
		if m.Type(i) == manifest.File {
			if x := m.Locate(i); x.Blob >= 0 {
				files[x.Blob] = append(files[x.Blob], int32(i))
			}
		}
	}
	return files
}

// readBlob fetches blob k of m and passes the content of each of its files. A
// file in blocks comes block by block. What does not match its digest is an error.
func (s *Syncer) readBlob(ctx context.Context, m *manifest.Manifest, k int, files []int32, fn func(i int, r io.Reader) error) error {
	ref := m.Blob(k)
	b, err := s.cfg.Blobs.Fetch(ctx, ref.Digest)
	if err != nil {
		return fmt.Errorf("fetch blob %s of %q: %w", ref.Digest, m.Path(int(files[0])), err)
	}
	if int64(len(b)) != ref.Size {
		return &blob.CorruptError{Digest: ref.Digest, Reason: fmt.Sprintf("%d bytes where the manifest says %d", len(b), ref.Size)}
	}
	for _, f := range files {
		i := int(f)
		e, at := m.Entry(i), m.Locate(i)
		if at.Kind == manifest.Blocks {
			if err := s.readBlocks(ctx, m, i, b, fn); err != nil {
				return err
			}
			continue
		}
		content := b[at.Offset:][:e.Size]
		if at.Kind == manifest.Pack && blob.Sum(content) != e.Digest {
			return &blob.CorruptError{Digest: ref.Digest, Reason: fmt.Sprintf("it does not hold %q", m.Path(i))}
		}
		if err := fn(i, bytes.NewReader(content)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Syncer) readBlocks(ctx context.Context, m *manifest.Manifest, i int, index []byte, fn func(int, io.Reader) error) error {
	e := m.Entry(i)
	ds, err := manifest.IndexDigests(index, e.Size)
	if err != nil {
		return err
	}
	r := &blockReader{ctx: ctx, blobs: s.cfg.Blobs, todo: ds, whole: blake3.New(), left: e.Size}
	if err := fn(i, r); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if got := blob.Digest(r.whole.Sum(nil)); got != e.Digest {
		return &blob.CorruptError{Digest: e.Digest, Reason: fmt.Sprintf("the blocks of %q make %s", m.Path(i), got)}
	}
	return nil
}

// blockReader reads a file block by block. Its context is that of the one call
// that it lives in.
type blockReader struct {
	ctx   context.Context
	blobs blob.Fetcher
	todo  []blob.Digest
	block []byte
	whole *blake3.Hasher
	left  int64
}

func (r *blockReader) Read(p []byte) (int, error) {
	if len(r.block) == 0 {
		if len(r.todo) == 0 {
			return 0, io.EOF
		}
		b, err := r.blobs.Fetch(r.ctx, r.todo[0])
		if err != nil {
			return 0, fmt.Errorf("fetch block %s: %w", r.todo[0], err)
		}
		if want := min(r.left, manifest.BlockSize); int64(len(b)) != want {
			return 0, &blob.CorruptError{Digest: r.todo[0], Reason: fmt.Sprintf("a block of %d bytes where %d were expected", len(b), want)}
		}
		r.whole.Write(b)
		r.block, r.todo, r.left = b, r.todo[1:], r.left-int64(len(b))
	}
	n := copy(p, r.block)
	r.block = r.block[n:]
	return n, nil
}

// ReadFiles passes the content of every file of m that has any, several at once,
// in no order. What does not match its digest is an error; fn sees it as one, or
// what it was given counts for nothing.
func (s *Syncer) ReadFiles(ctx context.Context, m *manifest.Manifest, fn func(i int, r io.Reader) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.cfg.Uploads)
	for k, files := range filesByBlob(m) {
		if len(files) > 0 {
			g.Go(func() error { return s.readBlob(ctx, m, k, files, fn) })
		}
	}
	return g.Wait()
}

// ReadFile passes the content of file i of m, which must have some.
func (s *Syncer) ReadFile(ctx context.Context, m *manifest.Manifest, i int, fn func(r io.Reader) error) error {
	return s.readBlob(ctx, m, m.Locate(i).Blob, []int32{int32(i)}, func(_ int, r io.Reader) error { return fn(r) })
}
