package syncer

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/blob"
	blobdir "github.com/prairielambda/prairielambda/internal/blob/dir"
	blobmem "github.com/prairielambda/prairielambda/internal/blob/mem"
	"github.com/prairielambda/prairielambda/internal/head"
	headdir "github.com/prairielambda/prairielambda/internal/head/dir"
	headmem "github.com/prairielambda/prairielambda/internal/head/mem"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// store is a real store, in a directory but for freshStore, that counts its calls.
type store struct {
	*Syncer
	root           string
	blobs          blob.Store
	heads          head.Store
	puts, fetches  atomic.Int64
	probed, listed atomic.Int64
}

func newStore(t testing.TB) *store { return storeAt(t, t.TempDir()) }

// freshStore is in memory: for what a push of everything is compared with, which
// need not survive anything.
func freshStore() *store { return storeOf("", blobmem.New(), headmem.New()) }

func storeAt(t testing.TB, root string) *store {
	d, err := blobdir.Open(filepath.Join(root, "blobs"))
	require.NoError(t, err)
	t.Cleanup(func() { d.Close() })
	return storeOf(root, d, headdir.New(root))
}

func storeOf(root string, d blob.Store, heads head.Store) *store {
	s := &store{root: root, heads: heads}
	s.blobs = blob.Verified(blob.Metered(d, func(o blob.Op) {
		switch o.Name {
		case "put":
			s.puts.Add(1)
		case "fetch":
			s.fetches.Add(1)
		case "probe":
			s.probed.Add(int64(o.Count))
		case "list":
			s.listed.Add(1)
		}
	}))
	s.Syncer = New(Config{Blobs: s.blobs, Heads: s.heads})
	return s
}

func (s *store) reset() {
	s.puts.Store(0)
	s.fetches.Store(0)
	s.probed.Store(0)
	s.listed.Store(0)
}

// clean fails the test if verify finds anything.
func (s *store) clean(t testing.TB) {
	t.Helper()
	r, err := s.Verify(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, r.Problems)
}

// git runs git in a repository and returns what it prints.
func gitIn(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@x", "GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@x")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "git %s: %s", strings.Join(args, " "), out)
	return strings.TrimSpace(string(out))
}

// files writes path -> content; "-> x" makes a symlink, a path ending in * an executable.
func files(t testing.TB, dir string, tree map[string]string) {
	t.Helper()
	for path, content := range tree {
		path, exec := strings.CutSuffix(path, "*")
		p := filepath.Join(dir, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		os.Remove(p)
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			require.NoError(t, os.Symlink(target, p))
			continue
		}
		mode := fs.FileMode(0o644)
		if exec {
			mode = 0o755
		}
		require.NoError(t, os.WriteFile(p, []byte(content), mode))
	}
}

// repo makes a repository with one commit of tree.
func repo(t testing.TB, tree map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	gitIn(t, dir, "init", "-q", "-b", "main")
	commit(t, dir, tree)
	return dir
}

func commit(t testing.TB, dir string, tree map[string]string) string {
	t.Helper()
	files(t, dir, tree)
	gitIn(t, dir, "add", "-A")
	gitIn(t, dir, "commit", "-q", "--allow-empty", "-m", "A title")
	return gitIn(t, dir, "rev-parse", "HEAD")
}

// course is a small course with every kind of chunk.
func course() map[string]string {
	return map[string]string{
		"infoCourse.json": `{"name":"demo"}`, "README.md": "", "run.sh*": "#!/bin/sh\n",
		"questions/a/info.json": "{}", "questions/a/server.py": "def generate(data): pass\n", "questions/a/question.html": "<p>a</p>",
		"questions/a/thumbnail.png": "png", "questions/a/clientFilesQuestion/thumbnail.jpg": "jpg", "questions/a/clientFilesQuestion/fig.png": big(70_000, 1),
		"questions/topic/b/info.json": "{}", "questions/topic/b/server.py": "b", "questions/topic/b/tests/thumbnail.png": "not one",
		"questions/topic/README.md":       "about the topic",
		"questions/topic/b/sub/info.json": "{} not a question", "questions/topic/b/link": "-> ../../a/server.py",
		"elements/e/info.json": "{}", "elements/e/e.py": "e", "elementExtensions/e/x/x.py": "x",
		"serverFilesCourse/lib.py": "lib", "clientFilesCourse/style.css": "css", "clientFilesCourse/video.mp4": big(3<<20+17, 2),
		"courseInstances/Fa/infoCourseInstance.json": "{}", "courseInstances/Fa/clientFilesCourseInstance/f": "f",
		"courseInstances/Fa/serverFilesCourseInstance/s": "s", "courseInstances/Fa/assessments/hw/1/infoAssessment.json": "{}",
		"courseInstances/Fa/assessments/hw/1/clientFilesAssessment/c": "c", "courseInstances/Fa/assessments/README": "r",
		"courseInstances/y/Sp/infoCourseInstance.json": "{}", "courseInstances/y/Sp/clientFilesCourseInstance/f": "f2",
		"notes/elements/x": "not an element",
	}
}

// big is content that neither shrinks nor repeats.
func big(n int, seed byte) string {
	var b bytes.Buffer
	d := blob.Sum([]byte{seed})
	for b.Len() < n {
		b.Write(d[:])
		d = blob.Sum(d[:])
	}
	return b.String()[:n]
}

// snapshot reads a directory: path -> type, permission to execute, content.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		if rel == ".git" {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			got[rel] = "dir"
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			got[rel] = "-> " + target
		default:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			got[rel] = fmt.Sprintf("%v %d %s", info.Mode()&0o100 != 0, len(b), blob.Sum(b))
		}
		return nil
	}))
	return got
}

// archive is what `git archive` says a revision holds.
func archive(t testing.TB, repo, rev string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", `git -C "$0" archive "$1" | tar -x -C "$2"`, repo, rev, dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return snapshot(t, dir)
}

// pulled materialises a version.
func (s *store) pulled(t testing.TB, course, version string) map[string]string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	_, err := s.Pull(t.Context(), course, version, dir)
	require.NoError(t, err)
	return snapshot(t, dir)
}

func (s *store) manifestOf(t testing.TB, course string) *manifest.Manifest {
	t.Helper()
	v, err := s.Resolve(t.Context(), course, "current")
	require.NoError(t, err)
	m, err := s.Manifest(t.Context(), v.Manifest)
	require.NoError(t, err)
	return m
}
