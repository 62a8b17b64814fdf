package browser

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// passEnv makes this test program the server of a mount that passes everything
// through to a directory, and names the two: "DIRECTORY:MOUNTPOINT".
const passEnv = "PRAIRIE_TEST_PASS"

// passThrough serves until its stdin ends. It is a process of its own: one that
// executes others must not serve a mount that they wait for.
func passThrough(places string) {
	dir, point, _ := strings.Cut(places, ":")
	root, err := gofs.NewLoopbackRoot(dir)
	if err == nil {
		second := time.Second // that a client may go on believing what it knows, as virtiofs does
		var s *fuse.Server
		if s, err = gofs.Mount(point, root, &gofs.Options{AttrTimeout: &second, EntryTimeout: &second, MountOptions: fuse.MountOptions{FsName: "elsewhere"}}); err == nil {
			fmt.Println("mounted")
			_, _ = io.Copy(io.Discard, os.Stdin)
			err = s.Unmount()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// elsewhere mounts a directory a second time, as one of another machine's.
func elsewhere(t *testing.T, dir string) (point string) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		need(t, "/dev/fuse")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	point = filepath.Join(t.TempDir(), filepath.Base(dir))
	require.NoError(t, os.Mkdir(point, 0o755))
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), passEnv+"="+dir+":"+point)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		require.NoError(t, cmd.Wait())
	})
	ready := make([]byte, len("mounted\n"))
	_, err = io.ReadFull(stdout, ready)
	require.NoError(t, err)
	return point
}

// A course on a filesystem whose other side edits it, as the shared directories of
// virtual machines and networks are: the kernel tells nobody, and the page follows.
func TestEditsBehindASilentFilesystem(t *testing.T) {
	t.Parallel()
	behind := sample(t)
	point := elsewhere(t, behind)
	d := startDev(t, point)
	require.Eventually(t, func() bool { return strings.Contains(d.stderr.String(), "does not tell about changes") }, bound, tick)
	has(t, d.panel("/question/physics/incline"), "rests on a slope")

	w, err := fsnotify.NewWatcher()
	require.NoError(t, err)
	defer w.Close()
	question := filepath.Join(point, "questions/physics/incline")
	require.NoError(t, w.Add(question))

	before := version(t, d)
	d.dir = behind
	_, next := d.events()
	d.edit("questions/physics/incline/question.html", "rests on a slope", "stands on a hill")
	for !strings.Contains(d.panel("/question/physics/incline"), "stands on a hill") {
		next("changed")
	}
	require.NotEqual(t, before, version(t, d))
	require.NoError(t, os.Rename(filepath.Join(behind, "questions/words/planets"), filepath.Join(behind, "questions/words/moons")))
	for !strings.Contains(d.page("/"), `href="/question/words/moons"`) {
		next("changed")
	}

	select {
	case e := <-w.Events:
		t.Errorf("this filesystem is not silent: %v", e)
	default:
	}
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(point, &st))
	require.EqualValues(t, unix.FUSE_SUPER_MAGIC, st.Type)
}
