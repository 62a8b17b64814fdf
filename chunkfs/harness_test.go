package chunkfs

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/machine"
)

// rig is a store, a cache and a mount point, and a daemon once started.
type rig struct {
	t     testing.TB
	conf  daemonConfig
	cmd   *exec.Cmd
	env   []string
	store string
	mnt   string
}

// need ends the test where the machine lacks something, unless it must not.
func need(t testing.TB, ok bool, what string) {
	t.Helper()
	if ok {
		return
	}
	machine.Skip(t, "no %s here", what)
}

func newRig(t testing.TB) *rig {
	t.Helper()
	_, err := os.Stat("/dev/fuse")
	need(t, err == nil && os.Geteuid() == 0, "root and /dev/fuse")
	dir := t.TempDir()
	r := &rig{t: t, store: filepath.Join(dir, "store"), mnt: filepath.Join(dir, "mnt")}
	require.NoError(t, os.MkdirAll(r.store, 0o755))
	require.NoError(t, os.MkdirAll(r.mnt, 0o755))
	r.conf = daemonConfig{
		Store: r.store, Cache: filepath.Join(dir, "cache"), Mount: r.mnt,
		Fault: filepath.Join(dir, "fault"), LogLevel: "error", Deadline: 2 * time.Second,
	}
	return r
}

// start runs the daemon; the end of the test unmounts and expects it to go in peace.
func (r *rig) start() {
	r.t.Helper()
	conf, err := json.Marshal(r.conf)
	require.NoError(r.t, err)
	r.cmd = exec.Command("/proc/self/exe")
	r.cmd.Env = append(append(os.Environ(), r.env...), daemonEnv+"="+string(conf))
	r.cmd.Stderr = os.Stderr
	out, err := r.cmd.StdoutPipe()
	require.NoError(r.t, err)
	require.NoError(r.t, r.cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(r.t, err)
	require.Equal(r.t, "ready\n", line)
	cmd := r.cmd
	r.t.Cleanup(func() {
		if cmd.ProcessState != nil {
			return
		}
		_ = syscall.Unmount(r.mnt, syscall.MNT_DETACH)
		if err := cmd.Wait(); err != nil {
			r.t.Error("daemon:", err)
		}
	})
}

func (r *rig) kill() {
	r.t.Helper()
	require.NoError(r.t, r.cmd.Process.Kill())
	_ = r.cmd.Wait()
}

// stop unmounts and waits for the daemon.
func (r *rig) stop() error {
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return r.cmd.Wait()
}

func (r *rig) fault(illness string) {
	r.t.Helper()
	if illness == "" {
		require.NoError(r.t, os.Remove(r.conf.Fault))
		return
	}
	require.NoError(r.t, os.WriteFile(r.conf.Fault+".new", []byte(illness), 0o600))
	require.NoError(r.t, os.Rename(r.conf.Fault+".new", r.conf.Fault))
}

// fetches counts the different blobs that the store was asked for; a second
// GET for one that lingered is not counted.
func (r *rig) fetches() int {
	b, err := os.ReadFile(r.conf.Fault + ".log")
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	require.NoError(r.t, err)
	blobs := make(map[string]bool)
	for digest := range strings.Lines(string(b)) {
		blobs[digest] = true
	}
	return len(blobs)
}

func (r *rig) status() (s Status) {
	b, err := os.ReadFile(filepath.Join(r.mnt, ".chunkfs/status.json"))
	require.NoError(r.t, err)
	require.NoError(r.t, json.Unmarshal(b, &s))
	return s
}

// sample writes a tree with every kind of file that the format knows.
func sample(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, n int, mode os.FileMode) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, noise(name, n), mode))
	}
	write("infoCourse.json", 200, 0o644)
	write("empty", 0, 0o644)
	write("questions/a/server.py", 3000, 0o644)
	write("questions/a/deep/er/x", 1, 0o644)
	write("questions/b/figure.png", 64<<10, 0o644)
	write("questions/b/almost", 64<<10-1, 0o644)
	write("questions/b/run.sh", 50, 0o755)
	write("clientFilesCourse/mib.bin", 1<<20, 0o644)
	write("clientFilesCourse/over.bin", 1<<20+1, 0o644)
	write("clientFilesCourse/video.bin", 5<<20+12345, 0o644)
	for i := range 300 {
		write("elements/e/"+strings.Repeat("n", 1+i%200)+string(rune('a'+i%26))+"/f.py", 100+37*i, 0o644)
	}
	write("names/sp ace", 3, 0o644)
	write("names/ünï", 3, 0o644)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "void"), 0o755))
	require.NoError(t, os.Symlink("questions/a/server.py", filepath.Join(dir, "link")))
	require.NoError(t, os.Symlink("../questions", filepath.Join(dir, "names", "up")))
	return dir
}

// noise is n bytes that no compression shrinks, the same for the same name.
func noise(name string, n int) []byte {
	var seed [32]byte
	copy(seed[:], name)
	b := make([]byte, n)
	_, _ = io.ReadFull(rand.NewChaCha8(seed), b)
	return b
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 30*time.Second, 5*time.Millisecond, what)
}
