package chunkfs

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOldVersionsLeaveAndThoseInUseStay(t *testing.T) {
	t.Parallel() // it waits more than it works
	r := newRig(t)
	r.conf.LeaveAfter = time.Second
	src := sample(t)
	v1 := push(t, r.store, "XC101", src)
	r.start()
	same(t, src, filepath.Join(r.mnt, "XC101", v1))
	eventually(t, "v1 is here", func() bool { return r.status().Cache.Files >= int64(r.fetches()) })
	before := r.status().Cache.Files
	require.NoError(t, os.WriteFile(filepath.Join(src, "questions/a/server.py"), []byte("changed"), 0o644))
	v2 := push(t, r.store, "XC101", src)
	eventually(t, "v2 is current", func() bool { return readlink(t, r.mnt+"/XC101/current") == v2 })
	same(t, src, filepath.Join(r.mnt, "XC101/current")+"/")
	eventually(t, "what only v1 had is gone: a manifest and a pack; what only v2 has is here", func() bool {
		now := r.status().Cache
		return now.Evictions == 2 && now.Files == before
	})
	time.Sleep(2 * r.conf.LeaveAfter)
	require.Equal(t, before, r.status().Cache.Files, "what the head names stays, though nobody reads it")
	// A version that left comes back.
	b, err := readUncached(filepath.Join(r.mnt, "XC101", v1, "questions/a/server.py"))
	require.NoError(t, err)
	require.Equal(t, noise("questions/a/server.py", 3000), b)
}

func readlink(t *testing.T, path string) string {
	t.Helper()
	l, err := os.Readlink(path)
	require.NoError(t, err)
	return l
}
