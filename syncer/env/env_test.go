package env_test

import (
	"archive/tar"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/prairielambda/prairielambda/syncer/env"
	"github.com/prairielambda/prairielambda/syncer/env/imagetest"
	"github.com/prairielambda/prairielambda/test/machine"
)

type store struct {
	*syncer.Syncer
	*storage.Store
	dir string
}

func newStore(t *testing.T) *store {
	dir := t.TempDir()
	st, err := storage.Create(t.Context(), "dir://"+dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	return &store{syncer.New(syncer.Config{Blobs: st.Blobs, Heads: st.Heads}), st, dir}
}

func (s *store) push(ctx context.Context, name, source string, l env.Limits) (syncer.Report, error) {
	src, err := env.Open(ctx, source, l)
	if err != nil {
		return syncer.Report{}, err
	}
	defer src.Close()
	return env.Push(ctx, s.Syncer, name, src, l)
}

// lines lists an environment as `env ls` does, without sizes of directories.
func (s *store) lines(t *testing.T, name string) (lines []string) {
	t.Helper()
	m, err := env.Manifest(t.Context(), s.Syncer, name, "")
	require.NoError(t, err)
	require.NoError(t, env.List(m, "", func(f env.File) error {
		lines = append(lines, strings.Join(strings.Fields(f.String()), " "))
		return nil
	}))
	return lines
}

// big does not compress and is three blocks.
func big() string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 2<<20+5)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// sample has what images are made of: three layers, whiteouts, an opaque
// directory, hard links, a set-id file, absolute links, devices, owners, attributes.
func sample() *imagetest.Image {
	suid := tar.Header{Typeflag: tar.TypeReg, Name: "usr/bin/su", Mode: 0o4755}
	caps := tar.Header{
		Typeflag: tar.TypeReg, Name: "usr/bin/ping", Mode: 0o755, Uid: 5, Gid: 6,
		PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02caps", "SCHILY.xattr.security.selinux": "label"},
	}
	below := imagetest.NewLayer(
		imagetest.Dir("./usr", 0o755), imagetest.Dir("usr/bin", 0o755), imagetest.Dir("opt", 0o755), imagetest.Dir("opt/old", 0o700),
		imagetest.Symlink("bin", "usr/bin"), imagetest.Symlink("etc/mtab", "/proc/mounts"), imagetest.Char("dev/null", 1, 3), imagetest.Fifo("run/pipe"),
		tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777},
	).File("usr/bin/tool", "#!/bin/sh\n", 0o755).Whole(suid, "suid").Whole(caps, "ping").
		File("opt/old/a", "a", 0o644).File("opt/old/b", "b", 0o644).File("opt/gone", "gone", 0o644).File("usr/lib/big.so", big(), 0o644).
		File("opt/empty", "", 0o600)
	middle := imagetest.NewLayer(
		imagetest.Whiteout("opt", "gone"), tar.Header{Typeflag: tar.TypeReg, Name: "opt/old/.wh..wh..opq"},
		imagetest.Link("usr/bin/alias", "usr/bin/tool"),
	).File("opt/old/c", "c", 0o644)
	top := imagetest.NewLayer(imagetest.Dir("opt", 0o750)).File("usr/bin/tool", "#!/bin/bash\n", 0o755)
	return &imagetest.Image{Layers: [][]byte{below.Tar(), middle.Tar(), top.Tar()}, Env: []string{"PATH=/usr/bin", "X=1"}, Cmd: []string{"tool"}}
}

var sampleLines = []string{
	"dir 0755 0:0 0 /",
	"symlink 0777 0:0 7 /bin -> usr/bin",
	"dir 0755 0:0 0 /dev",
	"char 0666 0:0 0 /dev/null 1:3",
	"dir 0755 0:0 0 /etc",
	"symlink 0777 0:0 12 /etc/mtab -> /proc/mounts",
	"dir 0750 0:0 0 /opt",
	"file 0600 0:0 0 /opt/empty",
	"dir 0700 0:0 0 /opt/old",
	"file 0644 0:0 1 /opt/old/c",
	"dir 0755 0:0 0 /run",
	"fifo 0600 0:0 0 /run/pipe",
	"dir 1777 0:0 0 /tmp",
	"dir 0755 0:0 0 /usr",
	"dir 0755 0:0 0 /usr/bin",
	"file 0755 0:0 10 /usr/bin/alias", // the layer above replaced the other name only
	"file 0755 5:6 4 /usr/bin/ping",
	"file 4755 0:0 4 /usr/bin/su",
	"file 0755 0:0 12 /usr/bin/tool",
	"dir 0755 0:0 0 /usr/lib",
	"file 0644 0:0 2097157 /usr/lib/big.so",
}

func TestEverySourceGivesTheSameDigest(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	img := sample()
	first, err := s.push(ctx, "one", img.Docker(filepath.Join(t.TempDir(), "image.tar")), env.Limits{})
	require.NoError(t, err)
	require.Positive(t, first.BlobsUploaded)
	require.Equal(t, sampleLines, s.lines(t, "one"))

	dir := img.OCI(t.TempDir())
	again := func(source string) {
		t.Helper()
		r, err := s.push(ctx, "two", source, env.Limits{})
		require.NoError(t, err)
		require.Equal(t, first.Version, r.Version)
		require.Zero(t, r.BlobsUploaded, "the store has all of it under another name")
	}
	again(dir)

	plain := sample()
	plain.Pack = func(b []byte) []byte { return b }
	again(plain.OCI(t.TempDir()))

	reg := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer reg.Close()
	ref, err := name.ParseReference(strings.TrimPrefix(reg.URL, "http://") + "/course/image:1")
	require.NoError(t, err)
	idx, err := layout.ImageIndexFromPath(dir)
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(ref, idx))
	again(ref.Name())

	flat := imagetest.Image{Layers: img.Layers[:1]}
	r, err := s.push(ctx, "two", flat.OCI(t.TempDir()), env.Limits{})
	require.NoError(t, err)
	require.NotEqual(t, first.Version, r.Version)

	v, err := s.Verify(ctx, "")
	require.NoError(t, err)
	require.Empty(t, v.Problems)
	require.Equal(t, 2, v.Environments)

	a, err := env.Manifest(ctx, s.Syncer, "one", "")
	require.NoError(t, err)
	b, err := env.Manifest(ctx, s.Syncer, "two", "")
	require.NoError(t, err)
	var diff []string
	require.NoError(t, env.Diff(a, b, func(c syncer.Change) error {
		diff = append(diff, c.Op+" "+c.Path)
		return nil
	}))
	require.Equal(t, []string{
		"M opt", "A opt/gone", "A opt/old/a", "A opt/old/b", "M usr/bin/tool", "D opt/old/c", "D usr/bin/alias",
	}, diff)
}

func TestADirectoryIsAnEnvironmentWithAllThatItHas(t *testing.T) {
	machine.Root(t)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.WriteFile(dir+"/a", []byte("a"), 0o644))
	require.NoError(t, os.Chown(dir+"/a", 7, 8))
	require.NoError(t, os.Chmod(dir+"/a", 0o755|os.ModeSetuid))
	require.NoError(t, unix.Setxattr(dir+"/a", "user.k", []byte("v"), 0))
	require.NoError(t, os.Link(dir+"/a", dir+"/b"))
	require.NoError(t, os.Symlink("/absolute", dir+"/c"))
	require.NoError(t, unix.Mknod(dir+"/d", unix.S_IFCHR|0o600, int(unix.Mkdev(5, 1))))
	s := newStore(t)
	_, err := s.push(t.Context(), "dir", dir, env.Limits{})
	require.NoError(t, err)
	require.Equal(t, []string{
		"dir 0755 0:0 0 /", "file 4755 7:8 1 /a", "file 4755 7:8 1 /b = /a", "symlink 0777 0:0 9 /c -> /absolute", "char 0600 0:0 0 /d 5:1",
	}, s.lines(t, "dir"))
	m, err := env.Manifest(t.Context(), s.Syncer, "dir", "")
	require.NoError(t, err)
	require.NoError(t, env.List(m, "a", func(f env.File) error {
		require.Equal(t, map[string]string{"user.k": "v"}, f.Xattrs)
		return nil
	}))
}

func TestHostileImagesAreRefusedAndTheStoreUnchanged(t *testing.T) {
	good := func() *imagetest.Layer { return imagetest.NewLayer(imagetest.Dir("d", 0o755)) }
	one := func(l *imagetest.Layer) *imagetest.Image { return &imagetest.Image{Layers: [][]byte{l.Tar()}} }
	variables := make([]string, 1_000_000)
	for i := range variables {
		variables[i] = fmt.Sprint("V", i, "=")
	}
	zeros := strings.Repeat("\x00", 80<<20)
	cases := []struct {
		name string
		img  *imagetest.Image
		says string
		form string // both when ""
	}{
		{"zip-slip", one(good().File("../../etc/passwd", "x", 0o644)), "climbs out", ""},
		{"zip-slip in the middle", one(good().File("d/../../x", "x", 0o644)), "climbs out", ""},
		{"absolute name", one(good().File("/etc/passwd", "x", 0o644)), "absolute name", ""},
		{"symlink then file through it", one(good().Add(imagetest.Symlink("e", "/etc")).File("e/passwd", "x", 0o644)), "below the symlink", ""},
		{"symlink below, file through it above", &imagetest.Image{Layers: [][]byte{
			good().Add(imagetest.Symlink("e", "d")).Tar(), good().File("e/passwd", "x", 0o644).Tar(),
		}}, "below the symlink", ""},
		{"file as a directory", one(good().File("f", "x", 0o644).File("f/g", "x", 0o644)), "no directory", ""},
		{"file over its own directory", one(good().File("d/f", "x", 0o644).File("d", "x", 0o644)), "comes twice", ""},
		{"duplicate entries", one(good().File("f", "x", 0o644).File("f", "y", 0o644)), "comes twice", ""},
		{"hard link to nowhere", one(good().Add(imagetest.Link("l", "nowhere"))), "not there", ""},
		{"hard link outside", one(good().Add(imagetest.Link("l", "../../etc/shadow"))), "climbs out", ""},
		{"hard link to a directory", one(good().Add(imagetest.Link("l", "d"))), "to the directory", ""},
		{"hard link through a symlink", one(good().Add(imagetest.Symlink("s", "d"), imagetest.Link("l", "s/x"))), "not there", ""},
		{"whiteout of dot-dot", one(good().Add(imagetest.Whiteout("d", ".."))), "hides no name", ""},
		{"root that is no directory", one(imagetest.NewLayer(imagetest.Symlink(".", "/etc"))), "root is not a directory", ""},
		{"layer bomb", one(good().File("zeros", zeros, 0o644)), "times its size", "oci"},
		{"more bytes than allowed", one(good().File("zeros", zeros, 0o644)), "unpacks to more than", "docker"},
		{"a million variables", &imagetest.Image{Env: variables, Layers: [][]byte{good().Tar()}}, "more than", ""},
		{"2,000 variables", &imagetest.Image{Env: variables[:2000], Layers: [][]byte{good().Tar()}}, "2000 environment variables, more than 1000", ""},
		{"config that is none", &imagetest.Image{Config: []byte("[]"), Layers: [][]byte{good().Tar()}}, "no JSON object", ""},
		{"layer of other content", &imagetest.Image{Layers: [][]byte{good().Tar()}, DiffIDs: []string{imagetest.Digest(nil)}}, "the image promises", ""},
		{"layer that the config does not know", &imagetest.Image{Layers: [][]byte{good().Tar()}, DiffIDs: []string{}}, "lists 1 layers, its config 0", ""},
		{"lie about a size", &imagetest.Image{Layers: [][]byte{good().Tar()}, Lie: func(d *imagetest.Descriptor) { d.Size++ }}, "the image promises", "oci"},
		{"lie about a digest", &imagetest.Image{Layers: [][]byte{good().Tar()}, Lie: func(d *imagetest.Descriptor) {
			d.Digest = "sha256:" + strings.Repeat("0", 64)
		}}, "not in the image", "oci"},
		{"digest that is a path", &imagetest.Image{Layers: [][]byte{good().Tar()}, Lie: func(d *imagetest.Descriptor) {
			d.Digest = "sha256:../../../../etc/passwd"
		}}, "no sha256 digest", "oci"},
		{"layer outside the image", &imagetest.Image{Layers: [][]byte{good().Tar()}, Rename: func(string) string { return "../../etc/passwd" }}, "not in the image", "docker"},
		{"cut off", &imagetest.Image{Layers: [][]byte{good().File("f", big(), 0o644).Tar()[:4096]}}, "too early", ""},
	}
	for _, c := range cases {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			s := newStore(t)
			before := files(t, s.dir)
			for _, form := range []string{"docker", "oci"} {
				if c.form != "" && c.form != form {
					continue
				}
				source := ""
				if form == "docker" {
					source = c.img.Docker(filepath.Join(t.TempDir(), "i.tar"))
				} else {
					source = c.img.OCI(t.TempDir())
				}
				limits := env.Limits{Bytes: 64 << 20}
				if c.name == "layer bomb" { // within the bytes that are allowed
					limits.Bytes = 1 << 30
				}
				_, err := s.push(t.Context(), "bad", source, limits)
				var refused *syncer.RefusedError
				require.ErrorAs(t, err, &refused, "%v", err)
				require.Contains(t, err.Error(), c.says)
				require.NotContains(t, err.Error(), "\n")
				require.Less(t, len(err.Error()), 1000)
				require.Equal(t, before, files(t, s.dir), form)
			}
		})
	}
}

// files are the store's objects.
func files(t *testing.T, dir string) (all []string) {
	require.NoError(t, filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, p)
		}
		return err
	}))
	return all
}

// A second environment with one package more costs that package and the manifest.
func TestOnePackageMoreStoresThatPackage(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	r := rand.New(rand.NewPCG(3, 4))
	random := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	}
	base := imagetest.NewLayer()
	for p := range 60 {
		for f := range 30 {
			base.File(fmt.Sprintf("usr/lib/python3/dist-packages/p%d/m%d.py", p, f), random(500+r.IntN(9000)), 0o644)
		}
		base.File(fmt.Sprintf("usr/share/doc/p%d/copyright", p), random(800), 0o644)
		base.File(fmt.Sprintf("usr/lib/lib%d.so", p), random(100<<10), 0o644)
	}
	img := &imagetest.Image{Layers: [][]byte{base.Tar()}}
	_, err := s.push(ctx, "base", img.Docker(t.TempDir()+"/a.tar"), env.Limits{})
	require.NoError(t, err)

	more, size := imagetest.NewLayer(), 0
	for f := range 40 {
		b := random(1000 + r.IntN(20000))
		size += len(b)
		more.File(fmt.Sprintf("usr/lib/python3/dist-packages/extra/sub%d/m%d.py", f%4, f), b, 0o644)
	}
	more.File("usr/share/doc/extra/copyright", "x", 0o644)
	img.Layers = append(img.Layers, more.Tar())
	before := du(t, s.dir)
	rep, err := s.push(ctx, "more", img.Docker(t.TempDir()+"/b.tar"), env.Limits{})
	require.NoError(t, err)
	m, err := env.Manifest(ctx, s.Syncer, "more", "")
	require.NoError(t, err)
	stored := du(t, s.dir) - before
	t.Logf("a package of %d bytes: %d moved, %d stored, manifest %d", size, rep.BytesUploaded, stored, len(m.Bytes()))
	require.LessOrEqual(t, float64(rep.BytesUploaded), 1.2*float64(size))
	require.LessOrEqual(t, float64(stored), 1.2*float64(size)+float64(len(m.Bytes())))
}

func du(t *testing.T, dir string) (n int64) {
	for _, f := range files(t, dir) {
		st, err := os.Stat(f)
		require.NoError(t, err)
		n += st.Size()
	}
	return n
}

func TestGCKeepsAnEnvironmentAndForgetsARemovedOne(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	_, err := s.push(ctx, "keep", sample().OCI(t.TempDir()), env.Limits{})
	require.NoError(t, err)
	other := &imagetest.Image{Layers: [][]byte{imagetest.NewLayer().File("x", big()+"x", 0o644).Tar()}}
	_, err = s.push(ctx, "drop", other.OCI(t.TempDir()), env.Limits{})
	require.NoError(t, err)
	_, err = s.Remove(ctx, "env.drop")
	require.NoError(t, err)
	_, err = s.GC(ctx, syncer.GCPolicy{Last: 1})
	require.NoError(t, err)
	g, err := s.GC(ctx, syncer.GCPolicy{Last: 1})
	require.NoError(t, err)
	require.Positive(t, g.BlobsKept)
	require.Equal(t, sampleLines, s.lines(t, "keep"))
	v, err := s.Verify(ctx, "")
	require.NoError(t, err)
	require.Empty(t, v.Problems)
	_, err = env.Manifest(ctx, s.Syncer, "drop", "")
	require.Error(t, err)
}

// Compiled Python stays valid under other times, and what was stale stays stale.
func TestCompiledPythonIsNotCompiledAgain(t *testing.T) {
	source, at := "X = 1\n", time.Unix(1_700_000_000, 0)
	pyc := func(mtime int64) string {
		b := []byte{0xcb, 0x0d, '\r', '\n', 0, 0, 0, 0}
		b = binary.LittleEndian.AppendUint32(b, uint32(mtime))
		return string(binary.LittleEndian.AppendUint32(b, uint32(len(source)))) + "code"
	}
	l := imagetest.NewLayer().Whole(tar.Header{Name: "m.py", Mode: 0o644, ModTime: at}, source).
		File("__pycache__/m.cpython-313.pyc", pyc(at.Unix()), 0o644).
		File("__pycache__/m.cpython-312.pyc", pyc(at.Unix()+1), 0o644).
		File("__pycache__/gone.cpython-313.pyc", pyc(at.Unix()), 0o644)
	s, dir := newStore(t), t.TempDir()
	_, err := s.push(t.Context(), "py", (&imagetest.Image{Layers: [][]byte{l.Tar()}}).OCI(dir), env.Limits{})
	require.NoError(t, err)
	digests := map[string]string{}
	m, err := env.Manifest(t.Context(), s.Syncer, "py", "")
	require.NoError(t, err)
	require.NoError(t, env.List(m, "__pycache__", func(f env.File) error {
		digests[filepath.Base(f.Path)] = f.Digest
		return nil
	}))
	valid := "\xcb\x0d\r\n\x01\x00\x00\x00" + strings.Repeat("\x00", 8) + "code"
	require.Equal(t, blob.Sum([]byte(valid)).String(), digests["m.cpython-313.pyc"])
	require.Equal(t, blob.Sum([]byte(pyc(at.Unix()+1))).String(), digests["m.cpython-312.pyc"])
	require.Equal(t, blob.Sum([]byte(pyc(at.Unix()))).String(), digests["gone.cpython-313.pyc"])
}
