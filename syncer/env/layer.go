package env

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/prairielambda/prairielambda/internal/manifest"
)

// layer is one layer's tar, packed or not, and what the image promises of it.
type layer struct {
	open   func(ctx context.Context) (io.ReadCloser, error)
	size   int64  // of the stream that open gives; -1 when nothing promises one
	digest string // sha256:… of that stream; "" when nothing promises one
	diffID string // sha256:… of the unpacked stream; "" likewise
}

// image is a list of layers with settings, which is what every source of images becomes.
type image struct {
	settings Config
	layers   []layer
	limits   Limits
	close    func() error
}

func (i *image) config(context.Context) (Config, error) { return i.settings, nil }

// Close removes what was spooled.
func (i *image) Close() error {
	if i.close == nil {
		return nil
	}
	return i.close()
}

func (i *image) walk(ctx context.Context, fn func(int, *header, io.Reader) error) error {
	for n := range i.layers {
		if err := i.layers[n].walk(ctx, i.limits, n, fn); err != nil {
			return fmt.Errorf("layer %d of %d: %w", n+1, len(i.layers), err)
		}
	}
	return nil
}

// counted counts and hashes what passes, and ends with ctx.
type counted struct {
	ctx  context.Context // of the one walk that it lives in
	r    io.Reader
	n    int64
	hash hash.Hash
}

func (c *counted) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	_, _ = c.hash.Write(p[:n])
	return n, err
}

func (c *counted) check(what, digest string) error {
	if digest == "" {
		return nil
	}
	if got := "sha256:" + hex.EncodeToString(c.hash.Sum(nil)); got != digest {
		return refused("%s is %s, the image promises %.80q", what, got, digest)
	}
	return nil
}

// guard refuses a layer that unpacks to far more than it is.
type guard struct {
	packed, plain *counted
	limits        Limits
}

func (g *guard) Read(p []byte) (int, error) {
	if g.plain.n > ratioFrom && g.plain.n > maxRatio*g.packed.n {
		return 0, refused("it unpacks to more than %d times its size", maxRatio)
	}
	// Headers and padding of the tar itself are part of the stream.
	if g.plain.n > g.limits.Bytes+int64(g.limits.Entries)*2048 {
		return 0, refused("it unpacks to more than %d bytes", g.limits.Bytes)
	}
	return g.plain.Read(p)
}

func (l *layer) walk(ctx context.Context, limits Limits, n int, fn func(int, *header, io.Reader) error) error {
	f, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer f.Close()
	packed := &counted{ctx: ctx, r: f, hash: sha256.New()}
	buffered := bufio.NewReaderSize(packed, 256<<10)
	plain, done, err := unpack(buffered)
	if err != nil {
		return err
	}
	defer done()
	g := &guard{packed: packed, plain: &counted{ctx: ctx, r: plain, hash: sha256.New()}, limits: limits.filled()}
	if err := readTar(g, n, fn); err != nil {
		return err
	}
	// What follows the tar's end is part of what was promised.
	if _, err := io.Copy(io.Discard, g); err != nil {
		return broken(err)
	}
	if _, err := io.Copy(io.Discard, buffered); err != nil {
		return err
	}
	if l.size >= 0 && packed.n != l.size {
		return refused("it has %d bytes, the image promises %d", packed.n, l.size)
	}
	if err := packed.check("its digest", l.digest); err != nil {
		return err
	}
	return g.plain.check("the digest of its content", l.diffID)
}

// unpack tells gzip, zstd and plain streams apart.
func unpack(r *bufio.Reader) (io.Reader, func(), error) {
	head, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, broken(err)
		}
		return z, func() { z.Close() }, nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, nil, broken(err)
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

// broken says that a stream is not what it should be; our own failures pass.
func broken(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return refused("it ends too early")
	}
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		return refused("it is damaged: %v", err)
	}
	return err
}

// readTar passes the entries of one tar stream.
func readTar(r io.Reader, layer int, fn func(int, *header, io.Reader) error) error {
	tr := tar.NewReader(r)
	for {
		th, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return broken(err)
		}
		h, err := newHeader(th)
		if err != nil {
			return err
		}
		if err := fn(layer, h, tr); err != nil {
			return broken(err)
		}
	}
}

// xattrs that mean something in a tree that is mounted nosuid and read-only:
// those that programs set themselves, and capabilities, so that a copy of the
// tree is whole. Labels and lists that belong to another machine do not.
func keepXattr(name string) bool {
	return name == "security.capability" || strings.HasPrefix(name, "user.")
}

const (
	paxXattr  = "SCHILY.xattr."
	maxXattrs = 64 << 10 // bytes of one entry's
)

func newHeader(th *tar.Header) (*header, error) {
	h := &header{
		name: th.Name, target: th.Linkname, size: th.Size, mode: uint16(th.Mode & 0o7777),
		mtime: th.ModTime.Unix(),
		uid:   uint32(th.Uid), gid: uint32(th.Gid), major: uint32(th.Devmajor), minor: uint32(th.Devminor),
	}
	if th.Uid < 0 || th.Gid < 0 || int64(th.Uid) > 1<<32-2 || int64(th.Gid) > 1<<32-2 ||
		th.Devmajor < 0 || th.Devminor < 0 || th.Devmajor > 0xfff || th.Devminor > 0xfffff {
		return nil, refused("%.200q has an impossible owner or device number", th.Name)
	}
	switch th.Typeflag {
	case tar.TypeReg, '\x00', tar.TypeCont, tar.TypeGNUSparse:
		h.typ = manifest.File
	case tar.TypeLink:
		h.link, h.size = true, 0
	case tar.TypeSymlink:
		h.typ, h.size = manifest.Symlink, 0
	case tar.TypeDir:
		h.typ, h.size = manifest.Dir, 0
	case tar.TypeChar:
		h.typ, h.size = manifest.CharDevice, 0
	case tar.TypeBlock:
		h.typ, h.size = manifest.BlockDevice, 0
	case tar.TypeFifo:
		h.typ, h.size = manifest.Fifo, 0
	default:
		return nil, refused("%.200q is an entry of the unknown type %q", th.Name, th.Typeflag)
	}
	xattrs := map[string]string{}
	total := 0
	for k, v := range th.PAXRecords {
		name, is := strings.CutPrefix(k, paxXattr)
		if !is || !keepXattr(name) {
			continue
		}
		if len(name) > 255 {
			return nil, refused("%.200q has an attribute with a name of %d bytes", th.Name, len(name))
		}
		if total += len(name) + len(v); total > maxXattrs {
			return nil, refused("%.200q has more than %d bytes of attributes", th.Name, maxXattrs)
		}
		xattrs[name] = v
	}
	for _, name := range sortedNames(xattrs) {
		h.xattrs = append(h.xattrs, manifest.Xattr{Name: name, Value: xattrs[name]})
	}
	return h, nil
}
