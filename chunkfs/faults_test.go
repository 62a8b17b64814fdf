package chunkfs

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/test/machine"
)

// Whatever the store does: right bytes or EIO within the deadline, hot files as
// ever, nothing that claims not to exist, and recovery without help.
func TestSickStore(t *testing.T) {
	t.Parallel() // it waits more than it works
	src := sample(t)
	for _, illness := range []string{"down", "hang", "wrong", "short", "missing", "slow 30ms"} {
		t.Run(illness, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.conf.Deadline = time.Second
			v := push(t, r.store, "XC101", src)
			push(t, r.store, "OTHER", src)
			r.start()
			root := filepath.Join(r.mnt, "XC101", v)
			hot, err := os.ReadFile(root + "/questions/a/server.py")
			require.NoError(t, err)
			require.Equal(t, []string{"XC101"}, filter(list(t, r.mnt), "XC101"))

			r.fault(illness)
			limit := 3*r.conf.Deadline + 10*time.Second // a path, an attribute, a read; and a machine that others use
			cold := map[string]func() ([]byte, error){
				"cold file":  func() ([]byte, error) { return os.ReadFile(root + "/elements/e/" + "na/f.py") },
				"cold block": func() ([]byte, error) { return os.ReadFile(root + "/clientFilesCourse/mib.bin") },
				"cold tree":  func() ([]byte, error) { return os.ReadFile(r.mnt + "/OTHER/current/infoCourse.json") },
			}
			want := map[string]string{"cold file": "elements/e/na/f.py", "cold block": "clientFilesCourse/mib.bin", "cold tree": "infoCourse.json"}
			for name, read := range cold {
				start := time.Now()
				b, err := read()
				require.Less(t, time.Since(start), limit, name)
				if err != nil {
					require.ErrorIs(t, err, syscall.EIO, name)
					continue
				}
				w, err := os.ReadFile(filepath.Join(src, want[name]))
				require.NoError(t, err)
				require.Equal(t, w, b, name)
			}
			if entries, err := os.ReadDir(r.mnt); err == nil {
				require.NotEmpty(t, entries)
			} else {
				require.ErrorIs(t, err, syscall.EIO)
			}
			if _, err := os.Stat(r.mnt + "/NEVER"); illness == "down" || illness == "hang" {
				require.ErrorIs(t, err, syscall.EIO, "nobody knows whether it exists")
			} else {
				require.ErrorIs(t, err, fs.ErrNotExist)
			}
			b, err := os.ReadFile(r.mnt + "/XC101/current/questions/a/server.py")
			require.NoError(t, err, "a course that was read is there as ever")
			require.Equal(t, hot, b)
			b, err = readUncached(root + "/questions/a/server.py")
			require.NoError(t, err, "and so is what is cached, without the kernel's help")
			require.Equal(t, hot, b)

			r.fault("")
			for name, read := range cold {
				w, err := os.ReadFile(filepath.Join(src, want[name]))
				require.NoError(t, err)
				eventually(t, name+" recovers", func() bool {
					b, err := read()
					return err == nil && string(b) == string(w)
				})
			}
			same(t, src, root)
		})
	}
}

func filter(names []string, keep string) (kept []string) {
	for _, n := range names {
		if n == keep {
			kept = append(kept, n)
		}
	}
	return kept
}

// readUncached reads a file through the server, whatever the kernel has of it.
func readUncached(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// A store that hangs holds up those who need it and nobody else, and a reader
// who is killed meanwhile goes.
func TestStalledReadersHoldUpNobody(t *testing.T) {
	t.Parallel() // it waits more than it works
	src := t.TempDir()
	stalled := 300
	if machine.Soak() {
		stalled = 1000
	}
	for i := range stalled {
		dir := filepath.Join(src, "d"+strconv.Itoa(i))
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "cold"), noise("cold"+strconv.Itoa(i), 3000), 0o644))
	}
	require.NoError(t, os.MkdirAll(filepath.Join(src, "hot"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(src, "hot/file"), noise("hot", 60_000), 0o644))
	r := newRig(t)
	r.conf.Deadline = 4 * time.Second
	v := push(t, r.store, "XC101", src)
	r.start()
	root := filepath.Join(r.mnt, "XC101", v)
	_, err := os.ReadFile(root + "/hot/file")
	require.NoError(t, err)
	for i := range stalled { // the paths are known, the bytes are not
		_, err := os.Stat(root + "/d" + strconv.Itoa(i) + "/cold")
		require.NoError(t, err)
	}
	r.fault("hang")
	var wg sync.WaitGroup
	for i := range stalled {
		wg.Go(func() {
			if _, err := os.ReadFile(root + "/d" + strconv.Itoa(i) + "/cold"); err == nil {
				t.Error("read what the store did not give")
			}
		})
	}
	cat := exec.Command("cat", root+"/d7/cold")
	require.NoError(t, cat.Start())
	eventually(t, "they all wait", func() bool { return r.status().Requests["read"] >= int64(stalled) })
	var took []time.Duration
	for range 200 {
		start := time.Now()
		b, err := readUncached(root + "/hot/file")
		took = append(took, time.Since(start))
		require.NoError(t, err)
		require.Len(t, b, 60_000)
	}
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	t.Logf("hot reads beside %d stalled ones: median %v, p99 %v", stalled, took[100], took[198])
	require.Less(t, took[198], r.conf.Deadline/2, "p99 of hot reads does not wait for cold ones")

	require.NoError(t, cat.Process.Kill())
	died := make(chan error, 1)
	go func() { died <- cat.Wait() }()
	select {
	case <-died:
	case <-time.After(r.conf.Deadline / 2):
		state, _ := os.ReadFile("/proc/" + strconv.Itoa(cat.Process.Pid) + "/status")
		t.Error("a killed reader still waits for the store: " + strings.Split(string(state), "\n")[2])
		<-died
	}
	wg.Wait()
	r.fault("")
	eventually(t, "recovery", func() bool { _, err := os.ReadFile(root + "/d7/cold"); return err == nil })
}

// The kernel lets nobody leave who waits for a path; so we must.
func TestAKilledCallerIsLetGo(t *testing.T) {
	t.Parallel() // it waits more than it works
	r := newRig(t)
	r.conf.Deadline = 20 * time.Second
	push(t, r.store, "XC101", sample(t))
	r.start()
	require.Equal(t, []string{"XC101"}, list(t, r.mnt))
	r.fault("hang")
	for _, args := range [][]string{
		{"cat", r.mnt + "/OTHER/x"},
		{"ls", r.mnt + "/XC101/" + strings.Repeat("1", 40)},
		{"ls", r.mnt + "/XC101"},
	} {
		before := r.status().Requests
		cmd := exec.Command(args[0], args[1:]...)
		require.NoError(t, cmd.Start())
		eventually(t, "it waits", func() bool {
			now := r.status().Requests // which itself looks up twice
			return now["lookup"] > before["lookup"]+2 || now["readdirplus"] > before["readdirplus"]
		})
		require.NoError(t, cmd.Process.Signal(syscall.SIGCHLD)) // ignored by it, and not a reason to leave
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		died := make(chan error, 1)
		go func() { died <- cmd.Wait() }()
		select {
		case <-died:
		case <-time.After(r.conf.Deadline / 2):
			t.Errorf("%v still waits for the store", args)
			<-died
		}
	}
}

// Any byte of any file of the cache flipped while the mount runs: never served, and healed.
func TestFlippedCacheBytesAreHealed(t *testing.T) {
	r := newRig(t)
	r.conf.MemoryBytes = 1 // else what is in memory hides the disk
	src := sample(t)
	v := push(t, r.store, "XC101", src)
	r.start()
	root := filepath.Join(r.mnt, "XC101", v)
	same(t, src, root)
	dir := r.conf.Cache + "/blobs"
	eventually(t, "everything is on disk", func() bool {
		return r.status().Cache.Files >= int64(r.fetches())
	})
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	for i, e := range files {
		f, err := os.OpenFile(filepath.Join(dir, e.Name()), os.O_RDWR, 0)
		require.NoError(t, err)
		st, err := f.Stat()
		require.NoError(t, err)
		at := st.Size() * int64(i) / int64(len(files))
		b := make([]byte, 1)
		_, err = f.ReadAt(b, at)
		require.NoError(t, err)
		b[0] ^= 0x40
		_, err = f.WriteAt(b, at)
		require.NoError(t, err)
		f.Close()
	}
	for _, f := range walk(t, src) {
		if f.mode.IsRegular() {
			want, err := os.ReadFile(filepath.Join(src, f.path))
			require.NoError(t, err)
			got, err := readUncached(filepath.Join(root, f.path))
			require.NoError(t, err, f.path)
			require.True(t, string(want) == string(got), f.path)
		}
	}
	s := r.status()
	require.Zero(t, s.Errors)
	require.GreaterOrEqual(t, s.Cache.Quarantined, int64(len(files)-2), "all were found out but the manifest, which was read before, and a block of one byte, which memory holds")
}
