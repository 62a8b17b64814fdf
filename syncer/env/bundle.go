package env

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// bundle is a set of named files that together are images: a tar or a directory.
type bundle interface {
	// open returns fs.ErrNotExist for what is no regular file of the bundle.
	open(name string) (io.ReadCloser, int64, error)
	Close() error
}

// tarBundle is a tar file of which only the places of its files are known.
type tarBundle struct {
	f     *os.File
	files map[string]tarFile
}

type tarFile struct{ at, size int64 }

// maxBundle bounds the names in a tar of images.
const maxBundle = 10_000

func openTar(f *os.File) (*tarBundle, error) {
	t := &tarBundle{f: f, files: map[string]tarFile{}}
	links := map[string]string{}
	r := &placed{f: f}
	tr := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, broken(err)
		}
		if n == maxBundle {
			return nil, refused("the tar holds more than %d files", maxBundle)
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			if _, twice := t.files[name]; twice {
				return nil, refused("%.200q comes twice in the tar", name)
			}
			t.files[name] = tarFile{r.at, h.Size}
		case tar.TypeSymlink: // old versions of docker save link equal layers
			links[name] = path.Join(path.Dir(name), h.Linkname)
		case tar.TypeLink:
			links[name] = path.Clean(h.Linkname)
		}
	}
	for name, to := range links {
		if f, ok := t.files[to]; ok {
			if _, twice := t.files[name]; !twice {
				t.files[name] = f
			}
		}
	}
	return t, nil
}

// placed knows where in the file the reader is; Seek lets tar skip contents.
type placed struct {
	f  *os.File
	at int64
}

func (p *placed) Read(b []byte) (int, error) {
	n, err := p.f.ReadAt(b, p.at)
	p.at += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (p *placed) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += p.at
	case io.SeekEnd:
		st, err := p.f.Stat()
		if err != nil {
			return 0, err
		}
		off += st.Size()
	}
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	p.at = off
	return off, nil
}

func (t *tarBundle) open(name string) (io.ReadCloser, int64, error) {
	f, ok := t.files[path.Clean(name)]
	if !ok {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(io.NewSectionReader(t.f, f.at, f.size)), f.size, nil
}

func (t *tarBundle) Close() error { return t.f.Close() }

// dirBundle is a directory; nothing above it is reachable.
type dirBundle struct{ dir *os.File }

func (d *dirBundle) open(name string) (io.ReadCloser, int64, error) {
	fd, err := unix.Openat2(int(d.dir.Fd()), name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, 0, &fs.PathError{Op: "open", Path: filepath.Join(d.dir.Name(), name), Err: err}
	}
	f := os.NewFile(uintptr(fd), filepath.Join(d.dir.Name(), name))
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: fs.ErrNotExist}
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

func (d *dirBundle) Close() error { return d.dir.Close() }

// small reads a whole file of a bundle.
func small(b bundle, name string) ([]byte, error) {
	r, _, err := b.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readBounded(r, maxConfigBlob, fmt.Sprintf("%.100q", name))
}

// has says whether a bundle has a file.
func has(b bundle, name string) bool {
	r, _, err := b.open(name)
	if err != nil {
		return false
	}
	r.Close()
	return true
}

func (i *image) from(b bundle, name string, l layer) error {
	r, size, err := b.open(name)
	if err != nil {
		return refused("the layer %.200q is not in the image", name)
	}
	r.Close()
	if l.size >= 0 && size != l.size {
		return refused("the layer %.200q has %d bytes, the image promises %d", name, size, l.size)
	}
	l.open = func(context.Context) (io.ReadCloser, error) {
		r, _, err := b.open(name)
		return r, err
	}
	i.layers = append(i.layers, l)
	return nil
}

// dockerImage reads what `docker save` writes. Of several images only one is meant.
func dockerImage(b bundle, limits Limits) (*image, error) {
	raw, err := small(b, "manifest.json")
	if err != nil {
		return nil, err
	}
	var all []struct {
		Config string
		Layers []string
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, refused("manifest.json is no list of images: %v", err)
	}
	if len(all) != 1 {
		return nil, refused("the tar holds %d images; save one", len(all))
	}
	m := all[0]
	raw, err = small(b, m.Config)
	if err != nil {
		return nil, missing(err, "config", m.Config)
	}
	i := &image{limits: limits, close: b.Close}
	var diffIDs []string
	if i.settings, diffIDs, err = parseConfig(raw); err != nil {
		return nil, err
	}
	// Both layouts name the config by its digest.
	name := strings.TrimSuffix(path.Base(m.Config), ".json")
	if sum := sha256.Sum256(raw); len(name) == 64 && name != hex.EncodeToString(sum[:]) {
		return nil, refused("the image's config is not what its name promises")
	}
	if len(diffIDs) != len(m.Layers) {
		return nil, refused("the image lists %d layers, its config %d", len(m.Layers), len(diffIDs))
	}
	for n, l := range m.Layers {
		if err := i.from(b, l, layer{size: -1, diffID: diffIDs[n]}); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// descriptor is OCI's promise about a blob.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
	Platform  *struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
	} `json:"platform"`
}

func (d *descriptor) file() (string, error) {
	hash, ok := strings.CutPrefix(d.Digest, "sha256:")
	if b, err := hex.DecodeString(hash); !ok || err != nil || len(b) != sha256.Size || hash != strings.ToLower(hash) {
		return "", refused("%.80q is no sha256 digest", d.Digest)
	}
	return "blobs/sha256/" + hash, nil
}

// blob reads a small blob and compares it with its descriptor.
func (d *descriptor) blob(b bundle) ([]byte, error) {
	name, err := d.file()
	if err != nil {
		return nil, err
	}
	raw, err := small(b, name)
	if err != nil {
		return nil, missing(err, "blob", d.Digest)
	}
	sum := sha256.Sum256(raw)
	if int64(len(raw)) != d.Size || "sha256:"+hex.EncodeToString(sum[:]) != d.Digest {
		return nil, refused("the blob %s is not what the image promises", d.Digest)
	}
	return raw, nil
}

func missing(err error, what, name string) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOENT) {
		return refused("the %s %.200q is not in the image", what, name)
	}
	return err
}

// ociManifest is an image's manifest, or an index of such.
type ociManifest struct {
	Manifests []descriptor `json:"manifests"`
	Config    descriptor   `json:"config"`
	Layers    []descriptor `json:"layers"`
}

// maxIndex is how deep indexes may lie in each other.
const maxIndex = 3

// ociImage reads an OCI layout: of several images the one for this machine.
func ociImage(b bundle, limits Limits) (*image, error) {
	raw, err := small(b, "index.json")
	if err != nil {
		return nil, err
	}
	for range maxIndex {
		var m ociManifest
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, refused("the image's manifest is no JSON object of the right shape: %v", err)
		}
		if len(m.Manifests) == 0 {
			return m.image(b, limits)
		}
		d, err := m.choose()
		if err != nil {
			return nil, err
		}
		if raw, err = d.blob(b); err != nil {
			return nil, err
		}
	}
	var m ociManifest
	if err := json.Unmarshal(raw, &m); err != nil || len(m.Manifests) > 0 {
		return nil, refused("the image's indexes lie more than %d deep in each other", maxIndex)
	}
	return m.image(b, limits)
}

func (m *ociManifest) choose() (*descriptor, error) {
	var fit []*descriptor
	for i := range m.Manifests {
		d := &m.Manifests[i]
		if p := d.Platform; p == nil || p.OS == "linux" && p.Architecture == runtime.GOARCH {
			fit = append(fit, d)
		}
	}
	if len(fit) != 1 {
		return nil, refused("the layout holds %d images for linux/%s; want one", len(fit), runtime.GOARCH)
	}
	return fit[0], nil
}

func (m *ociManifest) image(b bundle, limits Limits) (*image, error) {
	raw, err := m.Config.blob(b)
	if err != nil {
		return nil, err
	}
	i := &image{limits: limits, close: b.Close}
	var diffIDs []string
	if i.settings, diffIDs, err = parseConfig(raw); err != nil {
		return nil, err
	}
	if len(diffIDs) != len(m.Layers) {
		return nil, refused("the image lists %d layers, its config %d", len(m.Layers), len(diffIDs))
	}
	for n := range m.Layers {
		d := &m.Layers[n]
		name, err := d.file()
		if err != nil {
			return nil, err
		}
		if err := i.from(b, name, layer{size: max(d.Size, 0), digest: d.Digest, diffID: diffIDs[n]}); err != nil {
			return nil, err
		}
	}
	return i, nil
}
