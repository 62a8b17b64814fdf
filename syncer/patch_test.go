package syncer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// TestEditsPatchTheManifest edits contents and modes at random, across every
// size that changes where a file lies. Each push takes the short way, and makes
// the manifest that a push of the whole tree makes.
func TestEditsPatchTheManifest(t *testing.T) {
	tree := course()
	for i := range 150 { // several packs in one chunk
		tree[fmt.Sprintf("serverFilesCourse/vendor/m%d.py", i)] = big(9000, byte(i)) + fmt.Sprint(i)
	}
	delete(tree, "run.sh*")
	tree["run.sh"] = "#!/bin/sh\n"
	names := []string{}
	for name, content := range tree {
		if content[:min(2, len(content))] != "->" {
			names = append(names, name)
		}
	}
	s, dir := newStore(t), repo(t, tree)
	work, stats := newStore(t), &Stats{}
	push := func() {
		t.Helper()
		_, err := s.Push(t.Context(), "c", Git(dir, "HEAD"))
		require.NoError(t, err)
		_, err = work.Push(t.Context(), "c", Dir(dir, stats))
		require.NoError(t, err)
	}
	push()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 25 {
		for range 1 + r.IntN(6) {
			p := filepath.Join(dir, names[r.IntN(len(names))])
			size := []int{0, 1, 100, 5000, 65_535, 65_536, 200_000, 1 << 20, 1<<20 + 1}[r.IntN(9)]
			require.NoError(t, os.WriteFile(p, []byte(big(size, byte(r.IntN(200)))), 0o644))
			if r.IntN(4) == 0 {
				require.NoError(t, os.Chmod(p, []os.FileMode{0o644, 0o755}[r.IntN(2)]))
			}
		}
		prev := s.manifestOf(t, "c")
		commit(t, dir, nil)
		open, err := Git(dir, "HEAD").open(t.Context())
		require.NoError(t, err)
		root, err := expand(t.Context(), open, prev, blob.Digest{})
		require.NoError(t, err)
		require.NotNil(t, sparse(root, prev, 20), "round %d", i)
		require.NoError(t, open.close())

		push()
		for _, got := range []*store{s, work} {
			fresh, src := freshStore(), Git(dir, "HEAD")
			if got == work {
				src = Dir(dir, nil)
			}
			_, err = fresh.Push(t.Context(), "c", src)
			require.NoError(t, err)
			require.Equal(t, fresh.manifestOf(t, "c").Bytes(), got.manifestOf(t, "c").Bytes(), "round %d", i)
			want, err := fresh.Resolve(t.Context(), "c", "")
			require.NoError(t, err)
			rec, err := got.Resolve(t.Context(), "c", "")
			require.NoError(t, err)
			require.Equal(t, []any{want.Files, want.Bytes, want.Chunks}, []any{rec.Files, rec.Bytes, rec.Chunks})
		}
	}
	s.clean(t)
	work.clean(t)
	require.Equal(t, archive(t, dir, "HEAD"), s.pulled(t, "c", "current"))
}
