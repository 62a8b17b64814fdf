package chunkfs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/stretchr/testify/require"
)

// A bucket behind a wire that fails in every way: right bytes or EIO in time,
// hot files as ever, recovery without help.
func TestDamagedWire(t *testing.T) {
	needFUSE(t)
	bin := binaries(t)
	srv, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http", Host: "127.0.0.1", PublicHost: "127.0.0.1"})
	require.NoError(t, err)
	t.Cleanup(srv.Stop)
	srv.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "b"})
	w := newWire(srv.URL())
	t.Cleanup(w.Close)
	dir := t.TempDir()
	env := append(os.Environ(), "STORAGE_EMULATOR_HOST="+strings.TrimPrefix(w.URL, "http://"), "PRAIRIE_STORE=gs://b/courses", "PRAIRIE_CACHE="+filepath.Join(dir, "cache"))
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(bin, args[0]), args[1:]...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	modes := []string{"503", "404", "reset", "hang", "drip", "truncate", "flip"}
	src, mnt := filepath.Join(dir, "src"), filepath.Join(dir, "mnt")
	for _, name := range append(modes, "hot") { // a chunk, and so a blob, for each
		q := filepath.Join(src, "questions", name)
		require.NoError(t, os.MkdirAll(q, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(q, "info.json"), []byte(`{"of":"`+name+`"}`), 0o644))
	}
	require.NoError(t, os.WriteFile(filepath.Join(src, "infoCourse.json"), []byte("{}"), 0o644))
	run("syncer", "push", "--worktree", "demo", src)
	const deadline = 2 * time.Second
	run("chunkfs", "mount", "--background", "--deadline", deadline.String(), mnt)
	t.Cleanup(func() { run("chunkfs", "umount", mnt) })
	read := func(name string) (string, error) {
		b, err := os.ReadFile(filepath.Join(mnt, "demo/current/questions", name, "info.json"))
		return string(b), err
	}
	hot, err := read("hot")
	require.NoError(t, err)
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			w.mode.Store(mode)
			start := time.Now()
			got, err := read(mode)
			require.Less(t, time.Since(start), 3*deadline+10*time.Second) // and a machine that others use
			if err == nil {
				require.Equal(t, `{"of":"`+mode+`"}`, got)
			} else {
				require.ErrorIs(t, err, syscall.EIO)
				require.False(t, errors.Is(err, os.ErrNotExist))
			}
			again, err := read("hot")
			require.NoError(t, err)
			require.Equal(t, hot, again)
			w.mode.Store("")
			require.Eventually(t, func() bool {
				got, err := read(mode)
				return err == nil && got == `{"of":"`+mode+`"}`
			}, 30*time.Second, 50*time.Millisecond)
		})
	}
}
