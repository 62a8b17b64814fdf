package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Kinds are the prefixes that say what a source is; see Open.
var Kinds = []string{"dir", "root", "image", "registry"}

// Open finds out what source is and prepares to read it:
//
//	dir:PATH         a directory as it is: a root filesystem
//	root:FILE        a tar, perhaps packed, of a root filesystem
//	image:PATH       what `docker save` wrote, or an OCI layout as a tar or a directory
//	registry:NAME    an image of a registry, with the credentials of docker's config
//
// Without a prefix, a file is an image, a directory an image if it holds an
// index.json or a manifest.json and a root filesystem otherwise, and what is
// neither is looked for in a registry.
func Open(ctx context.Context, source string, limits Limits) (Source, error) {
	kind, rest, ok := strings.Cut(source, ":")
	if !ok || !contains(Kinds, kind) {
		kind, rest = "", source
	}
	if kind == "" {
		st, err := os.Stat(source)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(source, "/") && !strings.HasPrefix(source, "."):
			kind = "registry"
		case err != nil:
			return nil, err
		case !st.IsDir():
			kind = "image"
		default:
			kind = "dir"
			for _, mark := range []string{"index.json", "manifest.json"} {
				if _, err := os.Stat(filepath.Join(source, mark)); err == nil {
					kind = "image"
				}
			}
		}
	}
	switch kind {
	case "dir":
		return openDir(rest)
	case "root":
		return openRoot(rest, limits)
	case "image":
		return openImage(rest, limits)
	default:
		return openRegistry(ctx, rest, limits)
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func openRoot(p string, limits Limits) (Source, error) {
	st, err := os.Stat(p)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", p)
	}
	open := func(context.Context) (io.ReadCloser, error) { return os.Open(p) }
	return &image{limits: limits, layers: []layer{{open: open, size: -1}}}, nil
}

func openImage(p string, limits Limits) (Source, error) {
	b, err := openBundle(p)
	if err != nil {
		return nil, err
	}
	read := dockerImage
	switch {
	case has(b, "index.json"): // new versions of docker save write both; this one promises more
		read = ociImage
	case !has(b, "manifest.json"):
		b.Close()
		return nil, refused("%s holds neither index.json nor manifest.json; a root filesystem is pushed as dir:%s or root:%s", p, p, p)
	}
	i, err := read(b, limits)
	if err != nil {
		b.Close()
		return nil, err
	}
	return i, nil
}

func openBundle(p string) (bundle, error) {
	f, err := os.Open(p)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	if st.IsDir() {
		return &dirBundle{f}, nil
	}
	t, err := openTar(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	return t, nil
}

// openRegistry asks a registry. Layers are spooled at their first walk.
func openRegistry(ctx context.Context, ref string, limits Limits) (Source, error) {
	r, err := name.ParseReference(ref)
	if err != nil {
		return nil, fmt.Errorf("%s is no file, no directory and no image's name: %w", ref, err)
	}
	img, err := remote.Image(r, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil {
		return nil, fmt.Errorf("ask for %s: %w", r, err)
	}
	raw, err := img.RawConfigFile()
	if err != nil {
		return nil, fmt.Errorf("config of %s: %w", r, err)
	}
	i := &image{limits: limits}
	var diffIDs []string
	if i.settings, diffIDs, err = parseConfig(raw); err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("layers of %s: %w", r, err)
	}
	if len(layers) != len(diffIDs) {
		return nil, refused("the image lists %d layers, its config %d", len(layers), len(diffIDs))
	}
	dir, err := os.MkdirTemp("", "syncer-env-")
	if err != nil {
		return nil, err
	}
	i.close = func() error { return os.RemoveAll(dir) }
	for n, l := range layers {
		d, err := l.Digest()
		size, err2 := l.Size()
		if err = errors.Join(err, err2); err != nil {
			return nil, errors.Join(err, i.Close())
		}
		s := &spooled{layer: l, file: filepath.Join(dir, fmt.Sprint(n)), most: limits.filled().Bytes}
		i.layers = append(i.layers, layer{open: s.open, size: size, digest: d.String(), diffID: diffIDs[n]})
	}
	return i, nil
}

// spooled is a registry's layer, fetched once.
type spooled struct {
	layer v1.Layer
	file  string
	most  int64
	done  bool
}

func (s *spooled) open(ctx context.Context) (io.ReadCloser, error) {
	if !s.done {
		if err := s.fetch(ctx); err != nil {
			return nil, fmt.Errorf("fetch: %w", err)
		}
		s.done = true
	}
	return os.Open(s.file)
}

func (s *spooled) fetch(ctx context.Context) error {
	r, err := s.layer.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	defer context.AfterFunc(ctx, func() { r.Close() })()
	f, err := os.Create(s.file)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(r, s.most+1))
	if n > s.most {
		err = refused("the layer has more than %d bytes", s.most)
	}
	return errors.Join(err, f.Close())
}
