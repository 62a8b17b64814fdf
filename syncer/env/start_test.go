package env

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/prairielambda/prairielambda/syncer/env/imagetest"
)

// elfOf is a 64-bit file with a loader, libraries and a search path.
func elfOf(interp, search string, needed ...string) string {
	names, table := "\x00", []byte{}
	entry := func(tag, v uint64) {
		table = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(table, tag), v)
	}
	name := func(s string) uint64 {
		at := len(names)
		names += s + "\x00"
		return uint64(at)
	}
	for _, n := range needed {
		entry(dtNeeded, name(n))
	}
	if search != "" {
		entry(dtRunpath, name(search))
	}
	const text = elfHeader + 3*programHeader
	interp += "\x00"
	entry(dtStrtab, uint64(text+len(interp)))
	entry(dtStrsz, uint64(len(names)))
	b := make([]byte, text, text+len(interp)+len(names)+len(table))
	copy(b, elfMagic+"\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint64(b[32:], elfHeader)
	le.PutUint16(b[54:], programHeader)
	le.PutUint16(b[56:], 3)
	segment := func(n int, typ uint32, at, size int) {
		p := b[elfHeader+n*programHeader:]
		le.PutUint32(p, typ)
		le.PutUint64(p[8:], uint64(at))
		le.PutUint64(p[16:], uint64(at))
		le.PutUint64(p[32:], uint64(size))
	}
	all := text + len(interp) + len(names) + len(table)
	segment(0, ptLoad, 0, all)
	segment(1, ptInterp, text, len(interp))
	segment(2, ptDynamic, all-len(table), len(table))
	return string(b) + interp + names + string(table)
}

// pythonImage has a small Python whose numpy imports a library by way of a link.
func pythonImage() *imagetest.Layer {
	const lib = "usr/lib/x86_64-linux-gnu/"
	return imagetest.NewLayer(
		imagetest.Symlink("bin", "usr/bin"), imagetest.Symlink("lib64", "usr/lib/x86_64-linux-gnu"), imagetest.Symlink("usr/bin/python3", "python3.13"),
		imagetest.Symlink(lib+"libblas.so", "/etc/alternatives/blas"), imagetest.Symlink("etc/alternatives/blas", "/"+lib+"blas/libblas.so.3"),
		imagetest.Symlink("loop", "loop"),
	).
		File("usr/bin/python3.13", elfOf("/lib64/ld.so", "", "libm.so"), 0o755).
		File("usr/bin/dash", elfOf("/lib64/ld.so", ""), 0o755).Add(imagetest.Symlink("usr/bin/sh", "dash")).
		File(lib+"ld.so", elfOf("", ""), 0o755).File(lib+"libm.so", elfOf("", ""), 0o644).File(lib+"libother.so", elfOf("", ""), 0o644).
		File(lib+"blas/libblas.so.3", elfOf("", "$ORIGIN/../own", "libown.so", "libabsent.so"), 0o644).File(lib+"own/libown.so", elfOf("", ""), 0o644).
		File("usr/lib/python3.13/encodings/__init__.py", "from . import aliases, \\\n  utf_8\n", 0o644).
		File("usr/lib/python3.13/encodings/aliases.py", "", 0o644).File("usr/lib/python3.13/encodings/utf_8.py", "import codecs", 0o644).
		File("usr/lib/python3.13/encodings/__pycache__/utf_8.cpython-313.pyc", "compiled", 0o644).
		File("usr/lib/python3.13/codecs.py", "'''\nimport unseen_a\n'''\ndef f():\n    import unseen_b\nif TYPE_CHECKING:\n    import unseen_c\ntry:\n    import seen_a as b, seen_b\nexcept: x = 'import unseen_d'\n", 0o644).
		File("usr/lib/python3.13/seen_a.py", "", 0o644).File("usr/lib/python3.13/seen_b.py", "", 0o644).
		File("usr/lib/python3.13/unseen_a.py", "", 0o644).File("usr/lib/python3.13/unseen_b.py", "", 0o644).
		File("usr/lib/python3.13/unseen_c.py", "", 0o644).File("usr/lib/python3.13/unseen_d.py", "", 0o644).
		File("usr/lib/python3/dist-packages/numpy/__init__.py", "from .core import (\n  multi, # a comment\n  name)\n", 0o644).
		File("usr/lib/python3/dist-packages/numpy/core/__init__.py", "from .. import linalg\nfrom ..linalg import x\n", 0o644).
		File("usr/lib/python3/dist-packages/numpy/core/multi.cpython-313-x86_64-linux-gnu.so", elfOf("", "", "libblas.so"), 0o644).
		File("usr/lib/python3/dist-packages/numpy/linalg.py", "", 0o644).File("usr/lib/python3/dist-packages/numpy/tests.py", "", 0o644).
		File("srv/run", "#! /usr/bin/python3 -u\n", 0o755).File("etc/ld.so.cache", "cache", 0o644)
}

func flat(t *testing.T, l *imagetest.Layer) (*tree, Source) {
	t.Helper()
	p := filepath.Join(t.TempDir(), "root.tar")
	require.NoError(t, os.WriteFile(p, l.Tar(), 0o600))
	src, err := openRoot(p, Limits{})
	require.NoError(t, err)
	tree, err := flatten(t.Context(), src, Limits{}.filled())
	require.NoError(t, err)
	return tree, src
}

// What a push foresees is what the loader and the interpreter would open, and
// nothing else: links are followed inside, functions are not looked into.
func TestAStartIsForeseen(t *testing.T) {
	tree, src := flat(t, pythonImage())
	w := tree.writer(Config{Entrypoint: []string{"/srv/run"}}, src)
	_, err := w.write(t.Context(), func(blob.Digest, []byte) error { return nil })
	require.NoError(t, err)
	got := map[string]bool{}
	for _, p := range w.start {
		require.False(t, got[p], "%s twice", p)
		got[p] = true
	}
	const lib, py, np = "root/usr/lib/x86_64-linux-gnu/", "root/usr/lib/python3.13/", "root/usr/lib/python3/dist-packages/numpy/"
	want := []string{
		"root/usr/bin/python3.13", "root/usr/bin/dash", lib + "ld.so", lib + "libm.so", lib + "blas/libblas.so.3", lib + "own/libown.so",
		py + "encodings/__init__.py", py + "encodings/aliases.py", py + "encodings/__pycache__/utf_8.cpython-313.pyc", py + "codecs.py", py + "seen_a.py", py + "seen_b.py",
		np + "__init__.py", np + "core/__init__.py", np + "core/multi.cpython-313-x86_64-linux-gnu.so", np + "linalg.py", "root/srv/run", "root/etc/ld.so.cache",
	}
	require.ElementsMatch(t, want, w.start)
	require.Less(t, len(w.places(w.start)), len(w.start), "one path for each pack")
	require.Empty(t, w.places([]string{"root/none", "root/usr", "root/loop", "etc/passwd"}))
	p, d := tree.resolve("/../usr/../lib64/../x86_64-linux-gnu/./blas/libblas.so.3")
	require.Equal(t, "/usr/lib/x86_64-linux-gnu/blas/libblas.so.3", p)
	require.NotNil(t, d)
	for _, p := range []string{"/loop", "/loop/x", "/usr/bin/dash/x", "/none"} {
		_, d := tree.resolve(p)
		require.Nil(t, d, p)
	}
}

// A push records the start, keeps what nodes add to it, and passes it on to the
// next version; gc keeps it as long as the version.
func TestAStartIsRecordedWithItsVersion(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	st, err := storage.Create(ctx, "dir://"+dir)
	require.NoError(t, err)
	defer st.Close()
	s := syncer.New(syncer.Config{Blobs: st.Blobs, Heads: st.Heads})
	push := func(l *imagetest.Layer) string {
		p := filepath.Join(t.TempDir(), "root.tar")
		require.NoError(t, os.WriteFile(p, l.Tar(), 0o600))
		src, err := Open(ctx, "root:"+p, Limits{})
		require.NoError(t, err)
		defer src.Close()
		r, err := Push(ctx, s, "e", src, Limits{})
		require.NoError(t, err)
		return r.Version
	}
	recorded := func(version string) []string {
		p, err := st.Heads.Profile(ctx, "env.e", head.EnvNode(version))
		if err != nil {
			require.ErrorIs(t, err, head.ErrNotFound)
		}
		return p.Paths
	}
	const learned = "root/usr/share/learned"
	image := func() *imagetest.Layer { return pythonImage().File(learned[5:], strings.Repeat("x", 100_000), 0o644) }
	first := push(image())
	foreseen := recorded(first)
	require.Contains(t, foreseen, "root/usr/bin/python3.13")
	require.NotContains(t, foreseen, learned)
	require.NoError(t, st.Heads.PutProfile(ctx, head.Profile{Course: "env.e", Node: head.EnvNode(first), Paths: append(foreseen, learned, "root/rubbish", "root/bin//7")}))
	require.Equal(t, first, push(image()))
	require.Contains(t, recorded(first), learned, "pushed again")
	second := push(image().File("usr/new", "x", 0o644))
	require.Contains(t, recorded(second), learned, "and as another version")
	require.NotContains(t, recorded(second), "root/rubbish")

	for range 2 {
		_, err = s.GC(ctx, syncer.GCPolicy{Last: 2})
		require.NoError(t, err)
		require.Contains(t, recorded(first), learned)
		require.Contains(t, recorded(second), learned)
	}
	for range 2 {
		_, err = s.GC(ctx, syncer.GCPolicy{Last: 1})
		require.NoError(t, err)
	}
	require.Empty(t, recorded(first), "gone with its version")
	require.NotEmpty(t, recorded(second))
	_, err = s.Remove(ctx, "env.e")
	require.NoError(t, err)
	for range 2 {
		_, err = s.GC(ctx, syncer.GCPolicy{})
		require.NoError(t, err)
	}
	require.NoDirExists(t, filepath.Join(dir, "profiles", "env.e"))
}

// TestELFFilesOfThisMachine reads what the standard library reads of them.
func TestELFFilesOfThisMachine(t *testing.T) {
	n := 0
	for _, name := range []string{"python3", "sh", "git", "tar", "ls", "gcc", "node", "ldd"} {
		p, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		std, err := elf.Open(p)
		if err != nil {
			require.Nil(t, readELF(b), "a script")
			continue
		}
		n++
		want, err := std.ImportedLibraries()
		require.NoError(t, err)
		got := readELF(b)
		require.NotNil(t, got, p)
		require.Equal(t, want, got.needed, p)
		std.Close()
	}
	require.Positive(t, n)
}

// Whatever a file says of itself, reading it ends, and names no more than it has.
func FuzzELF(f *testing.F) {
	f.Add([]byte(elfOf("/lib64/ld.so", "$ORIGIN", "liba.so")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e := readELF(b); e != nil {
			require.LessOrEqual(t, len(e.needed), maxNeeded)
			require.LessOrEqual(t, len(e.interp), len(b))
			for _, dir := range e.searched("/o") {
				require.True(t, strings.HasPrefix(dir, "/"))
			}
		}
	})
}

func FuzzImports(f *testing.F) {
	f.Add([]byte("from . import (a,\n b)\nimport c as d, e\n'''x\n'''\n"), "p.q")
	f.Fuzz(func(t *testing.T, b []byte, pkg string) {
		for _, name := range imports(b, pkg) {
			require.True(t, isModule(name))
		}
	})
}
