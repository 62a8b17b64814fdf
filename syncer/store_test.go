package syncer

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/blob"
	blobmem "github.com/prairielambda/prairielambda/internal/blob/mem"
	"github.com/prairielambda/prairielambda/internal/head"
	headmem "github.com/prairielambda/prairielambda/internal/head/mem"
	"github.com/prairielambda/prairielambda/test/machine"
)

// TestEveryByteOfAStoreFlipped flips each byte of each object and record in
// turn: verify and pull notice, and pull never writes other bytes.
func TestEveryByteOfAStoreFlipped(t *testing.T) {
	s, dir := newStore(t), t.TempDir()
	files(t, dir, map[string]string{
		"infoCourse.json": "{}", "questions/q/info.json": "{\"title\": \"q\"}", "questions/q/server.py": "def generate(data):\n    pass\n",
		"l": "-> infoCourse.json", "clientFilesCourse/own": string(bytes.Repeat([]byte("0123456789abcdef"), 70_000/16)),
		"clientFilesCourse/blocks": string(bytes.Repeat([]byte("block of text..."), (1<<20+5000)/16)),
	})
	_, err := s.Push(t.Context(), "c", Dir(dir, nil))
	require.NoError(t, err)
	want := snapshot(t, dir)
	out, n := filepath.Join(t.TempDir(), "out"), 0
	require.NoError(t, filepath.WalkDir(s.root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(p) == ".lock" {
			return err
		}
		good, err := os.ReadFile(p)
		require.NoError(t, err)
		require.NoError(t, os.Chmod(p, 0o644))
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 0xff
			require.NoError(t, os.WriteFile(p, bad, 0o644))
			r, err := s.Verify(t.Context(), "")
			require.True(t, err != nil || len(r.Problems) > 0, "verify misses byte %d of %s", i, p)
			if _, err := s.Pull(t.Context(), "c", "current", out); err == nil {
				t.Fatalf("pull misses byte %d of %s: same bytes: %v", i, p, fmt.Sprint(snapshot(t, out)) == fmt.Sprint(want))
			}
			n++
		}
		return os.WriteFile(p, good, 0o644)
	}))
	s.clean(t)
	require.Equal(t, want, s.pulled(t, "c", "current"))
	left, err := os.ReadDir(filepath.Dir(out))
	require.NoError(t, err)
	require.Empty(t, left, "a pull that failed leaves nothing")
	t.Logf("%d bytes", n)
}

// TestGCKeepsExactlyWhatIsKept pushes many versions and collects all but some.
func TestGCKeepsExactlyWhatIsKept(t *testing.T) {
	s := &store{blobs: blob.Verified(blobmem.New()), heads: headmem.New()}
	s.Syncer = New(Config{Blobs: s.blobs, Heads: s.heads})
	dir, stats := t.TempDir(), &Stats{}
	files(t, dir, course())
	versions := []string{}
	n := 1000
	for i := range n {
		files(t, dir, map[string]string{"questions/a/server.py": fmt.Sprint(i), fmt.Sprintf("elements/e%d/x", i%10): fmt.Sprint(i)})
		r, err := s.Push(t.Context(), "c", Dir(dir, stats))
		require.NoError(t, err)
		versions = append(versions, r.Version)
	}
	require.NoError(t, s.Keep(t.Context(), "c", versions[3], true))
	_, err := s.Rollback(t.Context(), "c", versions[7])
	require.NoError(t, err)
	dry, err := s.GC(t.Context(), GCPolicy{Last: 5, DryRun: true})
	require.NoError(t, err)
	r, err := s.GC(t.Context(), GCPolicy{Last: 5})
	require.NoError(t, err)
	require.Equal(t, 7, r.VersionsKept)
	require.Equal(t, n-7, r.VersionsPurged)
	require.Equal(t, r.VersionsRemoved, dry.VersionsRemoved)
	s.clean(t)

	want := map[blob.Digest]bool{}
	for _, v := range append([]string{versions[3], versions[7]}, versions[n-5:]...) {
		rec, err := s.Resolve(t.Context(), "c", v)
		require.NoError(t, err)
		m, err := s.Manifest(t.Context(), rec.Manifest)
		require.NoError(t, err)
		want[rec.Manifest] = true
		for k := range m.Blobs() {
			want[m.Blob(k).Digest] = true
		}
	}
	blocks := 0
	require.NoError(t, s.blobs.List(t.Context(), func(i blob.Info) error {
		if !want[i.Digest] {
			blocks++
		}
		delete(want, i.Digest)
		return nil
	}))
	require.Empty(t, want, "lost")
	require.Equal(t, 4, blocks, "nothing else but the blocks of the one large file")

	removed, err := s.Remove(t.Context(), "c")
	require.NoError(t, err)
	require.Equal(t, 7, removed)
	_, err = s.Resolve(t.Context(), "c", versions[3])
	require.ErrorIs(t, err, head.ErrNotFound)
	_, err = s.GC(t.Context(), GCPolicy{})
	require.NoError(t, err)
	require.NoError(t, s.blobs.List(t.Context(), func(i blob.Info) error { return fmt.Errorf("%s is left", i.Digest) }))
	_, err = s.Remove(t.Context(), "c")
	require.ErrorIs(t, err, head.ErrNotFound)
}

// TestGCBesidePushes: pushes, rollbacks and collections with a short grace
// period race; whatever a record reaches is there after each of them. (With
// processes, and on gs: test/script/syncer.)
func TestGCBesidePushes(t *testing.T) {
	grace := 1500 * time.Millisecond // far more than a push takes; where it is not, longer
	for !gcBesidePushes(t, grace) {
		grace *= 4
		require.Less(t, grace, 2*time.Minute, "a push takes longer than that")
	}
}

// gcBesidePushes is false where a push took as long as the grace period: then gc may
// take what it pushed.
func gcBesidePushes(t *testing.T, grace time.Duration) (quick bool) {
	s, dir := newStore(t), repo(t, course())
	rounds := 25
	if machine.Soak() {
		rounds = 500
	}
	revs := []string{gitIn(t, dir, "rev-parse", "HEAD")}
	for i := range 6 {
		revs = append(revs, commit(t, dir, map[string]string{"questions/a/server.py": fmt.Sprint(i % 3), "elements/e/e.py": fmt.Sprint(i)}))
	}
	until, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	var runs, removed atomic.Int64
	wg.Go(func() {
		for until.Err() == nil { // nothing but the head is kept
			r, err := s.GC(t.Context(), GCPolicy{Grace: grace})
			if err != nil {
				t.Errorf("gc: %v", err)
				return
			}
			runs.Add(1)
			removed.Add(int64(r.BlobsRemoved))
		}
	})
	i := 0
	for ; i < rounds || removed.Load() == 0 && i < 50*rounds; i++ {
		rev := revs[(i*5)%len(revs)]
		if i%(len(revs)+1) == 0 {
			commit(t, dir, map[string]string{"questions/a/server.py": fmt.Sprint("new", i)})
			rev = "HEAD"
		}
		start := time.Now()
		_, err := s.Push(t.Context(), "c", Git(dir, rev))
		if time.Since(start) >= grace {
			return false
		}
		require.NoError(t, err)
		m := s.manifestOf(t, "c")
		for k, fs := range filesByBlob(m) {
			_, err := s.blobs.Fetch(t.Context(), m.Blob(k).Digest)
			require.NoError(t, err, "round %d: %q", i, m.Path(int(fs[0])))
		}
	}
	stop()
	wg.Wait()
	s.clean(t)
	t.Logf("%d pushes beside %d collections, which removed %d blobs", i, runs.Load(), removed.Load())
	return true
}

// TestGCStopsAtWhatItCannotRead: a damaged record may reach anything.
func TestGCStopsAtWhatItCannotRead(t *testing.T) {
	s, dir := newStore(t), repo(t, course())
	_, err := s.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	recs, err := filepath.Glob(filepath.Join(s.root, "versions", "c", "*"))
	require.NoError(t, err)
	require.NoError(t, os.Chmod(recs[0], 0o644))
	require.NoError(t, os.WriteFile(recs[0], []byte("{}"), 0o644))
	before, err := filepath.Glob(filepath.Join(s.root, "blobs", "*", "*"))
	require.NoError(t, err)
	_, err = s.GC(t.Context(), GCPolicy{})
	require.Error(t, err)
	after, err := filepath.Glob(filepath.Join(s.root, "blobs", "*", "*"))
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestRollbackRaisesTheSequence(t *testing.T) {
	s, dir := newStore(t), repo(t, course())
	first, err := s.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	commit(t, dir, map[string]string{"README.md": "2"})
	_, err = s.Push(t.Context(), "c", Git(dir, "HEAD"))
	require.NoError(t, err)
	h, err := s.Rollback(t.Context(), "c", first.Version)
	require.NoError(t, err)
	require.EqualValues(t, 3, h.Sequence)
	require.Equal(t, first.Manifest, h.Manifest)
	_, err = s.Rollback(t.Context(), "c", first.Version)
	require.NoError(t, err)
	_, err = s.Rollback(t.Context(), "c", "0000000000000000000000000000000000000000")
	require.ErrorIs(t, err, head.ErrNotFound)
}
