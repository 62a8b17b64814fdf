package syncer

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"github.com/prairielambda/prairielambda/test/machine"
)

func TestAPushedCommitIsWhatGitArchiveWrites(t *testing.T) {
	s, dir := newStore(t), repo(t, course())
	r, err := s.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	require.Equal(t, gitIn(t, dir, "rev-parse", "HEAD"), r.Version)
	require.Equal(t, archive(t, dir, "HEAD"), s.pulled(t, "c", "current"))
	s.clean(t)
	v, err := s.Resolve(t.Context(), "c", "")
	require.NoError(t, err)
	require.Equal(t, "A title", v.Git.Title)
	require.Equal(t, "A <a@x>", v.Git.Author)
	require.Equal(t, gitIn(t, dir, "rev-parse", "HEAD^{tree}"), v.Git.Tree)
	require.EqualValues(t, len(course())-1, v.Files, "all but the symlink")
}

func TestChunksFollowTheCourseLayout(t *testing.T) {
	s, dir := newStore(t), repo(t, course())
	_, err := s.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	m := s.manifestOf(t, "c")
	for path, want := range map[string]string{
		"": "course", "infoCourse.json": "course", "questions": "course", "questions/topic/README.md": "course", "notes/elements/x": "course",
		"questions/a": "question/a", "questions/a/server.py": "question/a", "questions/a/clientFilesQuestion/fig.png": "question/a",
		"questions/a/thumbnail.png": "questionThumbnails", "questions/a/clientFilesQuestion/thumbnail.jpg": "questionThumbnails",
		"questions/topic/b/tests/thumbnail.png": "question/topic/b", "questions/topic/b/sub/info.json": "question/topic/b",
		"elements/e/e.py": "elements", "elementExtensions/e/x/x.py": "elementExtensions",
		"serverFilesCourse/lib.py": "serverFilesCourse", "clientFilesCourse/video.mp4": "clientFilesCourse",
		"courseInstances/Fa/clientFilesCourseInstance/f": "clientFilesCourseInstance/Fa", "courseInstances/y/Sp/clientFilesCourseInstance/f": "clientFilesCourseInstance/y/Sp",
		"courseInstances/Fa/serverFilesCourseInstance/s":              "serverFilesCourseInstance/Fa",
		"courseInstances/Fa/assessments/hw/1/clientFilesAssessment/c": "clientFilesAssessment/Fa/hw/1",
		"courseInstances/Fa/assessments/README":                       "course", "courseInstances/Fa/infoCourseInstance.json": "course",
	} {
		k := m.ChunkAt(path)
		require.GreaterOrEqual(t, k, 0, path)
		require.Equal(t, want, m.Chunk(k).Name, path)
	}
	tree := gitIn(t, dir, "rev-parse", "HEAD:questions/a")
	got := m.Chunk(m.ChunkAt("questions/a")).Tree
	require.Equal(t, tree, fmt.Sprintf("%x", got[:20]))
}

func TestATreeThatIsNoCourseHasAChunkPerDirectory(t *testing.T) {
	s, dir := newStore(t), repo(t, map[string]string{"a/x": "1", "a/questions/q/info.json": "{}", "b/y": "2", "main.adb": "3"})
	_, err := s.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	m := s.manifestOf(t, "c")
	for path, want := range map[string]string{"a/x": "top/a", "a/questions/q/info.json": "top/a", "b/y": "top/b", "main.adb": "course"} {
		require.Equal(t, want, m.Chunk(m.ChunkAt(path)).Name)
	}
}

func TestAPushCostsWhatChanged(t *testing.T) {
	tree := course()
	for i := range 60 {
		for _, f := range []string{"info.json", "server.py", "question.html"} {
			tree[fmt.Sprintf("questions/t%d/q%d/%s", i%7, i, f)] = fmt.Sprint(f, i)
		}
	}
	for i := range 250 { // enough for several packs
		tree[fmt.Sprintf("serverFilesCourse/vendor/m%d.py", i)] = big(5000, byte(i)) + fmt.Sprint(i)
	}
	s, dir := newStore(t), repo(t, tree)
	_, err := s.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	first := s.manifestOf(t, "c")

	for _, step := range []struct {
		name   string
		change map[string]string
		remove string
		blobs  int // new content blobs
		chunks int
	}{
		{"one question", map[string]string{"questions/t1/q1/server.py": "new"}, "", 1, 1},
		{"one file of a large chunk", map[string]string{"serverFilesCourse/vendor/m140.py": "new"}, "", 1, 1},
		{"a mode", map[string]string{"run.sh": "#!/bin/sh\n"}, "", 0, 1},
		{"a large file in a directory of large files", map[string]string{"clientFilesCourse/own": big(100_000, 9)}, "", 1, 1},
		{"a removed question", nil, "questions/t2/q2", 0, 2}, // its chunk, and the course's list of entries
		{"nothing but a commit", nil, "", 0, 0},
	} {
		t.Run(step.name, func(t *testing.T) {
			if step.remove != "" {
				require.NoError(t, os.RemoveAll(filepath.Join(dir, step.remove)))
			}
			commit(t, dir, step.change)
			s.reset()
			r, err := s.Push(t.Context(), "c", Git(dir, "HEAD"))
			require.NoError(t, err)
			require.Equal(t, step.blobs, r.BlobsUploaded)
			require.LessOrEqual(t, r.ChunksChanged, step.chunks)
			require.LessOrEqual(t, s.puts.Load(), int64(step.blobs+1), "content and the manifest")
			require.LessOrEqual(t, s.fetches.Load(), int64(1+step.blobs), "the previous manifest; what a probe finds")
			require.Zero(t, s.listed.Load())
			require.Equal(t, archive(t, dir, "HEAD"), s.pulled(t, "c", "current"))
		})
	}
	s.clean(t)

	// A push to an empty store makes the same packs as all those steps did.
	fresh := freshStore()
	_, err = fresh.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	require.Equal(t, fresh.manifestOf(t, "c").Bytes(), s.manifestOf(t, "c").Bytes())
	require.NotEqual(t, first.Bytes(), s.manifestOf(t, "c").Bytes())
}

func TestAPushWithNothingToDoReadsTwoRecords(t *testing.T) {
	s, dir := newStore(t), repo(t, course())
	want, err := s.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	before, _, err := s.heads.Get(t.Context(), "c")
	require.NoError(t, err)
	s.reset()
	r, err := s.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	require.Zero(t, s.puts.Load()+s.fetches.Load()+s.probed.Load()+s.listed.Load())
	require.Zero(t, r.ChunksChanged+r.BlobsUploaded)
	require.Equal(t, []any{want.Version, want.Manifest, want.Files, want.Chunks}, []any{r.Version, r.Manifest, r.Files, r.Chunks})
	after, _, err := s.heads.Get(t.Context(), "c")
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestDirectoriesArePushedAsTheyAre(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	files(t, dir, course())
	require.NoError(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	stats := &Stats{}
	r, err := s.Push(t.Context(), "c", Dir(dir, stats))
	require.NoError(t, err)
	require.Equal(t, r.Manifest.String(), r.Version)
	require.Equal(t, snapshot(t, dir), s.pulled(t, "c", "current"))

	again, err := s.Push(t.Context(), "c", Dir(dir, nil))
	require.NoError(t, err)
	require.Equal(t, r.Version, again.Version)
	require.Zero(t, again.BlobsUploaded)

	files(t, dir, map[string]string{"questions/a/server.py": "edited"})
	edited, err := s.Push(t.Context(), "c", Dir(dir, stats))
	require.NoError(t, err)
	require.NotEqual(t, r.Version, edited.Version)
	require.Equal(t, 1, edited.BlobsUploaded)
	require.Equal(t, 1, edited.ChunksChanged)
	require.Equal(t, snapshot(t, dir), s.pulled(t, "c", "current"))

	// The same tree through git has the same content, and so the same blobs.
	gitIn(t, dir, "init", "-q")
	commit(t, dir, nil)
	viaGit, err := s.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	require.Zero(t, viaGit.BlobsUploaded)
	s.clean(t)
}

// TestStatsSaveReadingAndNeverHideAnEdit rewrites files in place, at the same
// size and with the old mtime put back, which only ctime betrays.
func TestStatsSaveReadingAndNeverHideAnEdit(t *testing.T) {
	s, dir, stats := newStore(t), t.TempDir(), &Stats{}
	files(t, dir, map[string]string{"infoCourse.json": "{}", "a/x": "1", "a/y": "2"})
	time.Sleep(2 * settled)
	push := func() Report {
		r, err := s.Push(t.Context(), "c", Dir(dir, stats))
		require.NoError(t, err)
		return r
	}
	push()
	require.Len(t, stats.files, 3)
	file := filepath.Join(t.TempDir(), "stats")
	require.NoError(t, stats.Save(file))
	loaded, err := LoadStats(file)
	require.NoError(t, err)
	require.Equal(t, stats.files, loaded.files)
	stats = loaded

	for i := range 20 {
		p := filepath.Join(dir, "a/x")
		st, err := os.Stat(p)
		require.NoError(t, err)
		want := string(rune('a' + i))
		require.NoError(t, os.WriteFile(p, []byte(want), 0o644))
		require.NoError(t, os.Chtimes(p, st.ModTime(), st.ModTime()))
		push()
		require.Equal(t, snapshot(t, dir), s.pulled(t, "c", "current"))
	}

	b, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, bad := range [][]byte{nil, b[:len(b)-1], append(slices.Clone(b), 0), []byte("prstats1")} {
		require.NoError(t, os.WriteFile(file, bad, 0o600))
		got, err := LoadStats(file)
		require.NoError(t, err)
		require.Empty(t, got.files)
	}
}

func TestTwoPushesAtOnce(t *testing.T) {
	s, dir := newStore(t), repo(t, course())
	_, err := s.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	revs := []string{}
	for i := range 4 {
		revs = append(revs, commit(t, dir, map[string]string{"questions/a/server.py": fmt.Sprint(i)}))
	}
	errs := make(chan error, len(revs))
	for _, rev := range revs {
		go func() {
			_, err := s.Push(t.Context(), "c", Git(dir, rev))
			errs <- err
		}()
	}
	moved := uint64(1)
	for range revs {
		if err := <-errs; err == nil {
			moved++
		} else {
			require.ErrorIs(t, err, head.ErrConflict)
		}
	}
	h, _, err := s.heads.Get(t.Context(), "c")
	require.NoError(t, err)
	require.Equal(t, moved, h.Sequence, "every push that reported success moved the head once")
	for _, rev := range revs { // nothing is lost: each can be pushed again or rolled back to
		_, err := s.Push(t.Context(), "c", Git(dir, rev))
		require.NoError(t, err)
		require.Equal(t, archive(t, dir, rev), s.pulled(t, "c", rev))
	}
	s.clean(t)
}

func TestRepushRepairs(t *testing.T) {
	s, dir := newStore(t), repo(t, course())
	_, err := s.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	blobs, err := filepath.Glob(filepath.Join(s.root, "blobs", "*", "*"))
	require.NoError(t, err)
	for i, p := range blobs {
		if i%2 == 0 {
			require.NoError(t, os.Remove(p))
		} else {
			require.NoError(t, os.Truncate(p, 5))
		}
	}
	r, err := s.Verify(t.Context(), "")
	require.NoError(t, err)
	require.NotEmpty(t, r.Problems)
	_, err = s.Repush(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	s.clean(t)
	require.Equal(t, archive(t, dir, "HEAD"), s.pulled(t, "c", "current"))
}

// TestRandomTrees pushes random trees through random edits, by git and as a
// directory, and compares every version with what git archive writes. A push that
// is told where to look makes the same of them.
func TestRandomTrees(t *testing.T) {
	names := []string{"questions", "elements", "info.json", "infoCourse.json", "serverFilesCourse", "courseInstances", "assessments", "infoCourseInstance.json", "clientFilesQuestion", "thumbnail.png", "a", "b b", "é", "-x", "a.py", "\xff\xfe"}
	if !machine.Soak() {
		require.NoError(t, flag.Set("rapid.checks", "8"))
	}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		require.NoError(rt, err)
		gitIn(t, dir, "init", "-q", "-b", "main")
		s, told := newStore(t), &Stats{}
		for range rapid.IntRange(1, 4).Draw(rt, "commits") {
			changed := []string{}
			for range rapid.IntRange(1, 12).Draw(rt, "edits") {
				parts := rapid.SliceOfN(rapid.SampledFrom(names), 1, 4).Draw(rt, "path")
				path := filepath.Join(append([]string{dir}, parts...)...)
				changed = append(changed, strings.Join(parts, "/"))
				switch rapid.IntRange(0, 10).Draw(rt, "edit") {
				case 0:
					os.RemoveAll(path)
				case 10:
					other := rapid.SampledFrom(names).Draw(rt, "renamed")
					os.Rename(path, filepath.Join(dir, other))
					changed = append(changed, other)
				case 1:
					os.MkdirAll(filepath.Dir(path), 0o755)
					os.Symlink(rapid.SampledFrom([]string{"a", "./b b", "nowhere/at/all"}).Draw(rt, "target"), path)
				default:
					size := rapid.SampledFrom([]int{0, 1, 100, 5000, 65_535, 65_536, 200_000, 1 << 20, 1<<20 + 1}).Draw(rt, "size")
					os.MkdirAll(filepath.Dir(path), 0o755)
					os.WriteFile(path, []byte(big(size, byte(rapid.IntRange(0, 200).Draw(rt, "seed")))), 0o644)
				}
			}
			rev := commit(t, dir, nil)
			if _, err := s.Push(t.Context(), "c", Git(dir, rev)); err != nil {
				rt.Fatalf("push: %v", err)
			}
			require.Equal(rt, archive(t, dir, rev), s.pulled(t, "c", rev))
			all, err := s.Push(t.Context(), "d", Dir(dir, nil))
			if err != nil {
				rt.Fatalf("push the directory: %v", err)
			}
			told.Changed(changed...)
			some, err := s.Push(t.Context(), "e", Dir(dir, told))
			if err != nil {
				rt.Fatalf("push what changed: %v", err)
			}
			require.Equal(rt, all.Manifest, some.Manifest, "%q", changed)
			want := snapshot(t, dir)
			require.Equal(rt, want, s.pulled(t, "d", "current"))
		}
		s.clean(t)
	})
}

func TestManifestSizeOnTheWire(t *testing.T) {
	tree := map[string]string{"infoCourse.json": "{}"}
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 333 {
		q := fmt.Sprintf("questions/topic%d/question-%d", i%20, r.IntN(1e6))
		for _, f := range []string{"info.json", "server.py", "question.html"} {
			tree[q+"/"+f] = fmt.Sprint(f, i)
		}
	}
	s, dir := newStore(t), repo(t, tree)
	rep, err := s.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	st, err := os.Stat(filepath.Join(s.root, "blobs", rep.Manifest.String()[:2], rep.Manifest.String()))
	require.NoError(t, err)
	per := float64(st.Size()) / float64(rep.Files)
	t.Logf("%d files: %d bytes on the wire, %.1f a file; %.1f in memory", rep.Files, st.Size(), per, float64(len(s.manifestOf(t, "c").Bytes()))/float64(rep.Files))
	require.Less(t, per, 75.0, "see README.md for what a file costs")
}

func TestPacksKeepTheirBorders(t *testing.T) {
	tree := map[string]string{"infoCourse.json": "{}"}
	for i := range 600 {
		tree[fmt.Sprintf("serverFilesCourse/d%d/f%d", i%40, i)] = big(10_000, byte(i)) + fmt.Sprint(i)
	}
	s, dir := newStore(t), repo(t, tree)
	_, err := s.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	m := s.manifestOf(t, "c")
	first, n := m.ChunkBlobs(m.ChunkAt("serverFilesCourse/d1/f1"))
	require.Greater(t, n, 6_000_000/manifest.PackSize)
	require.Less(t, n, 60)
	before := map[string]bool{}
	for k := first; k < first+n; k++ {
		require.LessOrEqual(t, m.Blob(k).Size, int64(manifest.PackSize))
		before[m.Blob(k).Digest.String()] = true
	}
	// Ten edits that grow, shrink, add and remove: each touches its own pack, and
	// at worst splits it.
	files(t, dir, map[string]string{
		"serverFilesCourse/d1/f1": "", "serverFilesCourse/d2/f2": big(60_000, 1), "serverFilesCourse/d3/new": "x",
		"serverFilesCourse/d9/f9": "y", "serverFilesCourse/d10/zz": big(30_000, 7),
	})
	require.NoError(t, os.Remove(filepath.Join(dir, "serverFilesCourse/d4/f4")))
	commit(t, dir, nil)
	_, err = s.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	m = s.manifestOf(t, "c")
	first, n = m.ChunkBlobs(m.ChunkAt("serverFilesCourse/d1/f1"))
	same := 0
	for k := first; k < first+n; k++ {
		if before[m.Blob(k).Digest.String()] {
			same++
		}
	}
	require.GreaterOrEqual(t, same, len(before)-6)
}
