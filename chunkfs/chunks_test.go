package chunkfs

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func chunksOf(t *testing.T, mnt, course, version string) (digests map[string]string) {
	t.Helper()
	name := filepath.Join(mnt, ".chunkfs/chunks", course, version+".json")
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &digests))
	st, err := os.Stat(name)
	require.NoError(t, err)
	require.EqualValues(t, len(b), st.Size())
	return digests
}

// Each version's file names its chunks; an edit changes the digest of what it
// touches and no other, from the first cat on and after the server was replaced.
func TestChunksOfAVersion(t *testing.T) {
	r := newRig(t)
	r.conf.Holder = true
	src := sample(t)
	for _, q := range []string{"a", "b"} { // which makes them questions
		require.NoError(t, os.WriteFile(filepath.Join(src, "questions", q, "info.json"), []byte("{}"), 0o644))
	}
	first := push(t, r.store, "XC101", src)
	r.start()
	before := chunksOf(t, r.mnt, "XC101", first)
	for _, name := range []string{"course", "elements", "clientFilesCourse", "question/a", "question/b"} {
		require.Regexp(t, `^[0-9a-f]{64}$`, before[name], name)
	}
	require.Equal(t, []string{"XC101"}, list(t, r.mnt+"/.chunkfs/chunks"))
	require.Equal(t, []string{first + ".json"}, list(t, r.mnt+"/.chunkfs/chunks/XC101"))

	require.NoError(t, os.WriteFile(filepath.Join(src, "questions/a/server.py"), []byte("changed"), 0o644))
	second := push(t, r.store, "XC101", src)
	after := chunksOf(t, r.mnt, "XC101", second)
	require.NotEqual(t, before["question/a"], after["question/a"])
	delete(before, "question/a")
	delete(after, "question/a")
	require.Equal(t, before, after)

	kept, err := os.Open(filepath.Join(r.mnt, ".chunkfs/chunks/XC101", first+".json"))
	require.NoError(t, err)
	defer kept.Close()
	pid := r.serverPID()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	eventually(t, "another server", func() bool { return r.serverPID() != pid })
	b, err := readUncached(kept.Name())
	require.NoError(t, err)
	require.Contains(t, string(b), `"question/a":"`)
	for _, p := range []string{"nope", "XC101/nope.json", "XC101/" + first, "XC101/current.json"} {
		_, err := os.Lstat(r.mnt + "/.chunkfs/chunks/" + p)
		require.ErrorIs(t, err, fs.ErrNotExist, p)
	}
}
