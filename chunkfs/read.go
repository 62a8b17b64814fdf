package chunkfs

import (
	"context"
	"fmt"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// Read fills buf from a file's offset; fewer bytes come back only at its end.
func (f *FS) Read(c <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if in.NodeId&tagMask == tagStatus {
		return f.readStatus(in)
	}
	ctx, cancel := f.request(c, &in.InHeader)
	defer cancel()
	if in.NodeId&tagMask == 0 {
		return f.readChunks(ctx, in)
	}
	v, i, err := f.resolve(ctx, in.NodeId)
	if err != nil {
		return nil, f.errno("read", err)
	}
	e := v.Entry(i)
	if e.Type == manifest.Dir {
		return nil, fuse.EISDIR
	}
	off := int64(in.Offset)
	if e.Type != manifest.File || off < 0 || off >= e.Size {
		return fuse.ReadResultData(nil), fuse.OK
	}
	p := buf[:min(int64(len(buf)), int64(in.Size), e.Size-off)]
	if err := f.fill(ctx, v, i, &e, off, p); err != nil {
		return nil, f.errno("read", fmt.Errorf("%s/%s: %w", v.course, v.Path(i), err))
	}
	return fuse.ReadResultData(p), fuse.OK
}

// fill reads [off, off+len(p)) of a regular file, which lies inside it.
func (f *FS) fill(ctx context.Context, v *version, i int, e *manifest.Entry, off int64, p []byte) error {
	at := v.Locate(i)
	if at.Kind == manifest.Empty {
		return nil
	}
	ref := v.Blob(at.Blob)
	f.touch(v, i, at.Blob, ref)
	switch at.Kind {
	case manifest.Pack:
		whole := p
		if int64(len(p)) != e.Size { // a digest speaks for a whole file only
			whole = make([]byte, e.Size)
		}
		if err := f.cfg.Cache.ReadPart(ctx, ref.Digest, ref.Size, e.Digest, at.Offset, whole); err != nil {
			return err
		}
		if int64(len(p)) != e.Size {
			copy(p, whole[off:])
		}
		return nil
	case manifest.Own:
		b, err := f.cfg.Cache.Bytes(ctx, ref.Digest, ref.Size)
		if err != nil {
			return err
		}
		return copyFrom(p, b, off, ref.Digest)
	default:
		f.touchBlock(v, i, off)
		return f.fillBlocks(ctx, ref, e.Size, off, p)
	}
}

// fillBlocks reads the 1 MiB blocks that the range touches, and no others.
func (f *FS) fillBlocks(ctx context.Context, ref manifest.BlobRef, size, off int64, p []byte) error {
	index, err := f.cfg.Cache.Bytes(ctx, ref.Digest, ref.Size)
	if err != nil {
		return err
	}
	const bs = manifest.BlockSize
	if int64(len(index)) != 32*((size+bs-1)/bs) {
		return &blob.CorruptError{Digest: ref.Digest, Reason: fmt.Sprintf("an index of %d bytes for a file of %d", len(index), size)}
	}
	for len(p) > 0 {
		k := off / bs
		d := blob.Digest(index[32*k:])
		if next := k + 1; next*bs < size { // a film is watched, not sampled
			f.cfg.Cache.Prefetch(blob.Digest(index[32*next:]), min(bs, size-next*bs))
		}
		b, err := f.cfg.Cache.Bytes(ctx, d, min(bs, size-k*bs))
		if err != nil {
			return err
		}
		n := min(int64(len(p)), (k+1)*bs-off)
		if err := copyFrom(p[:n], b, off-k*bs, d); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

func copyFrom(p, b []byte, off int64, d blob.Digest) error {
	if off+int64(len(p)) > int64(len(b)) {
		return &blob.CorruptError{Digest: d, Reason: fmt.Sprintf("%d bytes where %d were promised", len(b), off+int64(len(p)))}
	}
	copy(p, b[off:])
	return nil
}
