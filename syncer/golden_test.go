package syncer

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// golden is the tree of the store in testdata: an empty file, packed files, an
// own blob, blocks, a symlink, an executable, a thumbnail.
func golden() map[string]string {
	line := "a line of a file that is larger than a pack takes, again and again\n"
	large := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = line[i%len(line)]
		}
		return string(b)
	}
	return map[string]string{
		"infoCourse.json": "{}\n", "empty": "", "run.sh*": "#!/bin/sh\n", "link": "-> questions/a/info.json",
		"questions/a/info.json": "{}\n", "questions/a/thumbnail.png": "png\n", "questions/a/server.py": "def generate(data):\n    pass\n",
		"clientFilesCourse/own": large(70_000), "clientFilesCourse/blocks": large(1<<20 + 1),
	}
}

// TestGoldenStore reads the committed store, and writes the same blobs again.
// Objects are compared uncompressed: another release of the compressor may write
// another frame.
func TestGoldenStore(t *testing.T) {
	const dir = "testdata/store"
	src := t.TempDir()
	files(t, src, golden())
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.MkdirAll(dir, 0o755))
		_, err := storeAt(t, dir).Push(t.Context(), "golden", Dir(src, nil))
		require.NoError(t, err)
		require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && filepath.Base(p) == ".lock" {
				return os.Remove(p)
			}
			return err
		}))
	}
	copied := filepath.Join(t.TempDir(), "store") // reading makes a lock file
	require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
	old, now := storeAt(t, copied), newStore(t)
	old.clean(t)
	require.Equal(t, snapshot(t, src), old.pulled(t, "golden", "current"))
	_, err := now.Push(t.Context(), "golden", Dir(src, nil))
	require.NoError(t, err)
	digests := func(s *store) map[blob.Digest]string {
		got := map[blob.Digest]string{}
		require.NoError(t, s.blobs.List(t.Context(), func(i blob.Info) error {
			b, err := s.blobs.Fetch(t.Context(), i.Digest)
			got[i.Digest] = string(b)
			return err
		}))
		return got
	}
	require.Equal(t, digests(old), digests(now), "the format changed: raise its version, or run with UPDATE=1")
}
