package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/machine"
)

// programs are what a whole release has; the short one has what the image starts,
// and what makes a store for it.
var programs = []string{"chunkfs", "prairielambda", "scheduler", "syncer", "worker"}

// checkout is the root of the module.
const checkout = "../../.."

func TestARelease(t *testing.T) {
	out, archs := t.TempDir(), []string{"amd64", "arm64"}
	args := []string{"run", "./.ci/release", "-out", out}
	whole := machine.Soak()
	if !whole {
		archs, programs = []string{runtime.GOARCH}, []string{"prairielambda", "syncer"}
		args = append(args, "-archs", runtime.GOARCH, "-programs", strings.Join(programs, ","), "-root", smallRoot(t))
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = checkout
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)

	sums(t, out)
	for _, arch := range archs {
		t.Run(arch, func(t *testing.T) {
			dir := unpack(t, out, arch)
			for _, name := range programs {
				static(t, filepath.Join(dir, name), arch)
			}
			starts(t, dir, arch)
		})
	}
	var img v1.Image
	if t.Run("image", func(t *testing.T) { img = image(t, out, whole) }) {
		t.Run("container", func(t *testing.T) { serves(t, img, whole) })
	}
}

// smallRoot is a root filesystem of one file.
func smallRoot(t *testing.T) (file string) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "etc/debian_version", Mode: 0o644, Size: 5}))
	_, err := w.Write([]byte("12.0\n"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	file = filepath.Join(t.TempDir(), "root.tar")
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o644))
	return file
}

// sums has the users' own tool check every file that is given away.
func sums(t *testing.T, out string) {
	t.Helper()
	cmd := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	cmd.Dir = out
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)
	files, err := filepath.Glob(filepath.Join(out, "prairielambda-*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		require.Contains(t, string(said), filepath.Base(f)+": OK")
	}
}

// unpack leaves an archive's programs in a directory; there is nothing else in it.
func unpack(t *testing.T, out, arch string) (dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(out, "prairielambda-*-linux-"+arch+".tar.gz"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	f, err := os.Open(names[0])
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	dir = t.TempDir()
	for name, content := range contents(t, z) {
		built, err := os.ReadFile(filepath.Join(out, "linux-"+arch, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(built, content), "%s of the archive is what was built", name)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o755))
	}
	return dir
}

// contents reads a tar of programs, which carry the time of the commit.
func contents(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		require.Equal(t, int64(0o755), h.Mode, h.Name)
		require.Equal(t, commitTime(t), h.ModTime.UTC(), h.Name)
		b, err := io.ReadAll(tr)
		require.NoError(t, err)
		all[filepath.Base(h.Name)] = b
	}
	require.Len(t, all, len(programs))
	for _, name := range programs {
		require.Contains(t, all, name)
	}
	return all
}

func commitTime(t *testing.T) time.Time {
	t.Helper()
	out, err := exec.Command("git", "log", "-1", "--format=%cI").Output()
	require.NoError(t, err)
	when, err := time.Parse(time.RFC3339, strings.TrimSpace(string(out)))
	require.NoError(t, err)
	return when.UTC()
}

// static says that a program needs nothing of the system that it runs on.
func static(t *testing.T, file, arch string) {
	t.Helper()
	f, err := elf.Open(file)
	require.NoError(t, err, file)
	defer f.Close()
	require.Equal(t, map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch], f.Machine, file)
	for _, p := range f.Progs {
		require.NotContains(t, []elf.ProgType{elf.PT_INTERP, elf.PT_DYNAMIC}, p.Type, "%s is linked at its start", file)
	}
	info, err := buildinfo.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "github.com/prairielambda/prairielambda/cmd/"+filepath.Base(file), info.Path)
}

// starts runs every program, and one of them on a real course, on an emulator where
// the machine is another.
func starts(t *testing.T, dir, arch string) {
	t.Helper()
	run := func(name string, args ...string) string {
		argv := append([]string{filepath.Join(dir, name)}, args...)
		if arch != runtime.GOARCH {
			emulator := "qemu-" + map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch] + "-static"
			if _, err := exec.LookPath(emulator); err != nil {
				machine.Skip(t, "this machine lacks %s (Debian: qemu-user-static)", emulator)
			}
			argv = append([]string{emulator}, argv...)
		}
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		require.NoError(t, err, "%s: %s", argv, out)
		return string(out)
	}
	for _, name := range programs {
		require.NotEmpty(t, run(name, "--version"))
	}
	store := "dir://" + t.TempDir()
	run("syncer", "push", "--store", store, "sample", course.Sample(t).Dir) // a commit: emulators of Debian 12 know no openat2, which a working tree wants
	require.Contains(t, run("syncer", "ls", "--store", store, "sample", "questions/words/planets"), "question.html")
	run("syncer", "verify", "--store", store, "sample")
}

// image reads the image as a registry would, and as docker load does.
func image(t *testing.T, out string, whole bool) v1.Image {
	index, err := layout.ImageIndexFromPath(filepath.Join(out, "image"))
	require.NoError(t, err)
	require.NoError(t, validate.Index(index), "digests, sizes and layers agree")
	m, err := index.IndexManifest()
	require.NoError(t, err)
	require.Len(t, m.Manifests, 1)
	require.Equal(t, runtime.GOARCH, m.Manifests[0].Platform.Architecture)
	img, err := index.Image(m.Manifests[0].Digest)
	require.NoError(t, err)

	c, err := img.ConfigFile()
	require.NoError(t, err)
	require.Equal(t, []string{"linux", runtime.GOARCH}, []string{c.OS, c.Architecture})
	require.Equal(t, []string{"prairielambda"}, c.Config.Entrypoint)
	require.Equal(t, []string{"dev", "/course", "--listen", "0.0.0.0:3000"}, c.Config.Cmd)
	require.Contains(t, c.Config.ExposedPorts, "3000/tcp")
	require.Contains(t, c.Config.Env, "XDG_CACHE_HOME=/var/cache", "what the documented volume keeps")
	require.Equal(t, commitTime(t), c.Created.UTC())

	layers, err := img.Layers()
	require.NoError(t, err)
	require.Len(t, layers, 2)
	root, ours := layers[0], layers[1]
	if whole {
		have := paths(t, root)
		for _, p := range []string{"./usr/bin/python3", "./usr/bin/fusermount3", "./usr/bin/git", "./usr/bin/node", "./usr/lib/python3/dist-packages/numpy/", "./usr/lib/python3/dist-packages/sympy/", "./usr/lib/python3/dist-packages/lxml/"} {
			require.Contains(t, have, p)
		}
	} else {
		require.Equal(t, []string{"etc/debian_version"}, paths(t, root))
	}
	r, err := ours.Uncompressed()
	require.NoError(t, err)
	defer r.Close()
	for name, content := range contents(t, r) {
		b, err := os.ReadFile(filepath.Join(out, "linux-"+runtime.GOARCH, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(b, content), "%s of the image is what was built", name)
	}

	files, err := filepath.Glob(filepath.Join(out, "prairielambda-*-image-*.tar"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	loaded, err := tarball.ImageFromPath(files[0], nil)
	require.NoError(t, err)
	one, err := img.ConfigName()
	require.NoError(t, err)
	other, err := loaded.ConfigName()
	require.NoError(t, err)
	require.Equal(t, one, other, "docker load makes the same image")
	return img
}

func paths(t *testing.T, l v1.Layer) (all []string) {
	t.Helper()
	r, err := l.Uncompressed()
	require.NoError(t, err)
	defer r.Close()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return all
		}
		require.NoError(t, err)
		all = append(all, h.Name)
	}
}
