package git

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func run(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@x", "GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@x")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "git %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

func repo(t testing.TB, opts ...string) string {
	dir := t.TempDir()
	run(t, dir, append([]string{"init", "-q", "-b", "main"}, opts...)...)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "d"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("text\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "d", "x.sh"), []byte("#!/bin/sh\n"), 0o755))
	run(t, dir, "add", "-A")
	run(t, dir, "commit", "-q", "-m", "First\n\nMore.")
	return dir
}

func open(t testing.TB, dir string) *Repo {
	r, err := Open(t.Context(), dir)
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

// readAll reads the whole tree of a revision.
func readAll(t testing.TB, r *Repo, rev string) map[string]string {
	c, err := r.Commit(rev)
	require.NoError(t, err)
	got := map[string]string{}
	type dir struct {
		path string
		id   ID
	}
	for todo := []dir{{"", c.Tree}}; len(todo) > 0; todo = todo[1:] {
		var names []string
		var ids []ID
		require.NoError(t, r.Trees(t.Context(), []ID{todo[0].id}, func(_ int, es []Entry) error {
			for _, e := range es {
				if e.Mode == ModeDir {
					todo = append(todo, dir{todo[0].path + e.Name + "/", e.ID})
				} else {
					names, ids = append(names, todo[0].path+e.Name), append(ids, e.ID)
				}
			}
			return nil
		}))
		require.NoError(t, r.Objects(t.Context(), ids, func(i int, kind string, _ int64, content io.Reader) error {
			require.Equal(t, "blob", kind)
			b, err := io.ReadAll(content)
			got[names[i]] = string(b)
			return err
		}))
	}
	return got
}

var want = map[string]string{"a.txt": "text\n", "d/x.sh": "#!/bin/sh\n"}

func TestReadsWhatWasCommitted(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			dir := repo(t, "--object-format="+format)
			r := open(t, dir)
			require.Equal(t, want, readAll(t, r, "HEAD"))
			c, err := r.Commit("main")
			require.NoError(t, err)
			require.Equal(t, "First", c.Title)
			require.Equal(t, "A <a@x>", c.Author)
			run(t, dir, "tag", "-m", "annotated", "v1")
			tagged, err := r.Commit("v1")
			require.NoError(t, err)
			require.Equal(t, c.ID, tagged.ID)
			run(t, dir, "gc", "-q") // packed refs and objects
			require.Equal(t, want, readAll(t, open(t, dir), "refs/heads/main"))
			bare := filepath.Join(t.TempDir(), "bare.git")
			run(t, dir, "clone", "-q", "--bare", "--no-hardlinks", ".", bare)
			require.Equal(t, want, readAll(t, open(t, bare), "v1"))
		})
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	plain := t.TempDir()
	_, err := Open(t.Context(), plain)
	require.ErrorIs(t, err, ErrNotRepository)
	require.False(t, Is(plain))

	dir := repo(t)
	require.True(t, Is(dir))
	_, err = Open(t.Context(), filepath.Join(dir, "d"))
	require.ErrorIs(t, err, ErrNotRepository, "a directory inside a repository is not one")

	r := open(t, dir)
	for _, rev := range []string{"nope", "", "a\nb", "HEAD:a.txt", "HEAD^{tree}", "-h", "--batch-all-objects", strings.Repeat("a", 40), strings.Repeat("x", 2000), "HEAD~1"} {
		_, err := r.Commit(rev)
		require.Error(t, err, rev)
	}
	_, err = r.Commit("HEAD")
	require.NoError(t, err, "still in step")
	require.NoError(t, r.Objects(t.Context(), []ID{{1}}, func(_ int, kind string, _ int64, _ io.Reader) error {
		require.Empty(t, kind)
		return nil
	}))

	unborn := t.TempDir()
	run(t, unborn, "init", "-q")
	_, err = open(t, unborn).Commit("HEAD")
	require.ErrorContains(t, err, `"HEAD" names no commit`)
}

func TestDamageIsNoticed(t *testing.T) {
	dir := repo(t)
	run(t, dir, "gc", "-q")
	// Put another object's bytes under a blob's name.
	a := run(t, dir, "rev-parse", "HEAD:a.txt")
	b := run(t, dir, "rev-parse", "HEAD:d/x.sh")
	packs, err := filepath.Glob(filepath.Join(dir, ".git/objects/pack/*.pack"))
	require.NoError(t, err)
	pack, err := os.ReadFile(packs[0])
	require.NoError(t, err)
	for _, p := range packs {
		require.NoError(t, os.Remove(p))
		require.NoError(t, os.Remove(strings.TrimSuffix(p, "pack")+"idx"))
	}
	unpack := exec.Command("git", "unpack-objects", "-q")
	unpack.Dir, unpack.Stdin = dir, bytes.NewReader(pack)
	require.NoError(t, unpack.Run())
	loose := func(id string) string { return filepath.Join(dir, ".git/objects", id[:2], id[2:]) }
	swapped, err := os.ReadFile(loose(b))
	require.NoError(t, err)
	require.NoError(t, os.Chmod(loose(a), 0o644))
	require.NoError(t, os.WriteFile(loose(a), swapped, 0o644))
	r := open(t, dir)
	id, err := parseID(a, 20)
	require.NoError(t, err)
	err = r.Objects(t.Context(), []ID{id}, func(int, string, int64, io.Reader) error { return nil })
	require.ErrorContains(t, err, "corrupt")
	_, err = r.Commit("HEAD")
	require.Error(t, err, "out of step for good")
}

func TestAReaderMayStopEarly(t *testing.T) {
	dir := repo(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "big"), bytes.Repeat([]byte("0123456789abcdef"), 1<<16), 0o644))
	run(t, dir, "add", "-A")
	run(t, dir, "commit", "-q", "-m", "big")
	r := open(t, dir)
	id, err := parseID(run(t, dir, "rev-parse", "HEAD:big"), 20)
	require.NoError(t, err)
	n := 0
	ids := make([]ID, 300) // more than the pipes hold
	for i := range ids {
		ids[i] = id
	}
	require.NoError(t, r.Objects(t.Context(), ids[:5], func(int, string, int64, io.Reader) error { n++; return nil }))
	require.Equal(t, 5, n)
	err = r.Objects(t.Context(), ids, func(i int, _ string, _ int64, _ io.Reader) error { return io.ErrClosedPipe })
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

func FuzzTree(f *testing.F) {
	f.Add([]byte("100644 a.txt\x0001234567890123456789040000 d\x0001234567890123456789"))
	f.Fuzz(func(t *testing.T, b []byte) {
		es, err := parseTree(b, 20)
		if err != nil {
			return
		}
		n := 0
		for _, e := range es {
			n += len(e.Name) + 20
		}
		if n > len(b) {
			t.Fatal("more entries than bytes")
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(strings.Repeat("0a", 20) + " blob 12\n")
	f.Fuzz(func(t *testing.T, s string) {
		if _, _, size, err := parseHeader(s, 20); err == nil && size < 0 {
			t.Fatal("negative size")
		}
	})
}

func FuzzCommit(f *testing.F) {
	f.Add([]byte("tree " + strings.Repeat("0a", 20) + "\nauthor A <a@x> 1700000000 +0000\ncommitter C <c@x> 1 +0\n\nTitle\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseCommit(b, 20); err == nil && (len(c.Title) > 200 || len(c.Author) > 200) {
			t.Fatal("not clipped")
		}
	})
}
