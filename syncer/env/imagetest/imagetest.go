// Package imagetest makes container images for tests: honest ones in each form
// that images come in, and hostile ones, since nothing here is checked.
package imagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// Dir, File, Symlink, Link, Char and Fifo are entries of a layer.
func Dir(name string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}
}

// Symlink leads to target.
func Symlink(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}
}

// Link is a hard link to target.
func Link(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
}

// Char is a character device.
func Char(name string, major, minor int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeChar, Name: name, Mode: 0o666, Devmajor: major, Devminor: minor}
}

// Fifo is a named pipe.
func Fifo(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeFifo, Name: name, Mode: 0o600}
}

// Whiteout hides the name in the layers below.
func Whiteout(dir, name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: filepath.Join(dir, ".wh."+name), Mode: 0o644}
}

// Layer is a tar in the making.
type Layer struct {
	b bytes.Buffer
	w *tar.Writer
}

// NewLayer begins a layer with entries that have no content.
func NewLayer(hs ...tar.Header) *Layer {
	l := &Layer{}
	l.w = tar.NewWriter(&l.b)
	return l.Add(hs...)
}

// Add appends entries that have no content.
func (l *Layer) Add(hs ...tar.Header) *Layer {
	for i := range hs {
		must(l.w.WriteHeader(&hs[i]))
	}
	return l
}

// File appends a regular file.
func (l *Layer) File(name, content string, mode int64) *Layer {
	return l.Whole(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, content)
}

// Whole appends a regular file with all that h says.
func (l *Layer) Whole(h tar.Header, content string) *Layer {
	h.Size = int64(len(content))
	must(l.w.WriteHeader(&h))
	_, err := l.w.Write([]byte(content))
	must(err)
	return l
}

// Tar ends the layer.
func (l *Layer) Tar() []byte {
	must(l.w.Close())
	return l.b.Bytes()
}

// Gzip packs a layer.
func Gzip(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(b)
	must(err)
	must(z.Close())
	return out.Bytes()
}

// Image is layers, unpacked, and settings. Lies replace what would be true.
type Image struct {
	Layers [][]byte
	Env    []string
	Cmd    []string
	Config []byte // the whole config; made from the rest when nil

	Pack    func([]byte) []byte   // how layers are packed in OCI; Gzip when nil
	DiffIDs []string              // as claimed; true ones when nil
	Lie     func(d *Descriptor)   // changes what a layer's descriptor says
	Rename  func(s string) string // changes the names of layers in docker's manifest
}

// Descriptor is OCI's.
type Descriptor struct {
	MediaType string            `json:"mediaType"`
	Digest    string            `json:"digest"`
	Size      int64             `json:"size"`
	Platform  map[string]string `json:"platform,omitempty"`
}

// Digest is sha256:….
func Digest(b []byte) string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:])
}

func (i *Image) config() []byte {
	if i.Config != nil {
		return i.Config
	}
	diffs := i.DiffIDs
	if diffs == nil {
		diffs = []string{}
		for _, l := range i.Layers {
			diffs = append(diffs, Digest(l))
		}
	}
	return encode(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Env": i.Env, "Cmd": i.Cmd, "WorkingDir": "/"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
}

// Docker writes the image as `docker save` does.
func (i *Image) Docker(file string) string {
	l := NewLayer()
	conf := i.config()
	name := Digest(conf)[7:] + ".json"
	l.File(name, string(conf), 0o644)
	var layers []string
	for n, b := range i.Layers {
		file := fmt.Sprintf("%d/layer.tar", n)
		l.File(file, string(b), 0o644)
		if i.Rename != nil {
			file = i.Rename(file)
		}
		layers = append(layers, file)
	}
	l.File("manifest.json", string(encode([]any{map[string]any{"Config": name, "RepoTags": []string{"t:1"}, "Layers": layers}})), 0o644)
	must(os.WriteFile(file, l.Tar(), 0o644))
	return file
}

// OCI writes the image as a layout in a directory.
func (i *Image) OCI(dir string) string {
	blobs := filepath.Join(dir, "blobs", "sha256")
	must(os.MkdirAll(blobs, 0o755))
	put := func(kind string, b []byte) Descriptor {
		d := Descriptor{MediaType: kind, Digest: Digest(b), Size: int64(len(b))}
		must(os.WriteFile(filepath.Join(blobs, d.Digest[7:]), b, 0o644))
		return d
	}
	pack := i.Pack
	if pack == nil {
		pack = Gzip
	}
	layers := []Descriptor{}
	for _, l := range i.Layers {
		d := put("application/vnd.oci.image.layer.v1.tar+gzip", pack(l))
		if i.Lie != nil {
			i.Lie(&d)
		}
		layers = append(layers, d)
	}
	m := put("application/vnd.oci.image.manifest.v1+json", encode(map[string]any{
		"schemaVersion": 2, "config": put("application/vnd.oci.image.config.v1+json", i.config()), "layers": layers,
	}))
	m.Platform = map[string]string{"os": "linux", "architecture": runtime.GOARCH}
	must(os.WriteFile(filepath.Join(dir, "index.json"), encode(map[string]any{"schemaVersion": 2, "manifests": []Descriptor{m}}), 0o644))
	must(os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
	return dir
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	must(err)
	return b
}

func must(err error) {
	if err != nil {
		panic(err) // a test's own mistake
	}
}
