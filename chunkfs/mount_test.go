package chunkfs

import (
	"errors"
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
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestTheMountEqualsItsSource(t *testing.T) {
	src := sample(t)
	for _, env := range []string{"GOMAXPROCS=2", "GOMAXPROCS=1"} {
		t.Run(env, func(t *testing.T) {
			r := newRig(t)
			r.env = []string{env}
			v := push(t, r.store, "XC101", src)
			r.start()
			for _, root := range []string{"XC101/" + v, "XC101/current"} {
				same(t, src, filepath.Join(r.mnt, root)+"/")
			}
		})
	}
}

func TestStandardConformance(t *testing.T) {
	r := newRig(t)
	src := sample(t)
	require.NoError(t, os.RemoveAll(filepath.Join(src, "clientFilesCourse"))) // it reads byte by byte
	for _, name := range list(t, filepath.Join(src, "elements/e")) {
		if len(name) > 40 {
			require.NoError(t, os.RemoveAll(filepath.Join(src, "elements/e", name)))
		}
	}
	v := push(t, r.store, "XC101", src)
	r.start()
	require.NoError(t, fstest.TestFS(os.DirFS(r.mnt), "XC101/"+v+"/questions/a/server.py"))
}

func TestEveryWriteIsRefused(t *testing.T) {
	r := newRig(t)
	push(t, r.store, "XC101", sample(t))
	r.start()
	dir := filepath.Join(r.mnt, "XC101/current") + "/"
	file := dir + "questions/a/server.py"
	ro, err := os.Open(file)
	require.NoError(t, err)
	defer ro.Close()
	refused := map[string]func() error{
		"open to write": func() error { return firstErr(os.OpenFile(file, os.O_WRONLY, 0)) },
		"open rdwr":     func() error { return firstErr(os.OpenFile(file, os.O_RDWR, 0)) },
		"truncating":    func() error { return firstErr(os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)) },
		"create":        func() error { return firstErr(os.Create(dir + "new")) },
		"create course": func() error { return os.Mkdir(r.mnt+"/new", 0o755) },
		"tmpfile":       func() error { _, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR, 0o600); return err },
		"mkdir":         func() error { return os.Mkdir(dir+"new", 0o755) },
		"mknod":         func() error { return unix.Mknod(dir+"new", unix.S_IFIFO|0o600, 0) },
		"symlink":       func() error { return os.Symlink("x", dir+"new") },
		"link":          func() error { return os.Link(file, dir+"new") },
		"unlink":        func() error { return unix.Unlink(file) },
		"rmdir":         func() error { return unix.Rmdir(dir + "questions") },
		"rename":        func() error { return os.Rename(file, dir+"new") },
		"chmod":         func() error { return os.Chmod(file, 0o777) },
		"chown":         func() error { return os.Chown(file, 1, 1) },
		"utimes":        func() error { return os.Chtimes(file, time.Now(), time.Now()) },
		"truncate":      func() error { return os.Truncate(file, 1) },
		"setxattr":      func() error { return unix.Setxattr(file, "user.x", []byte("y"), 0) },
		"removexattr":   func() error { return unix.Removexattr(file, "user.x") },
	}
	for name, try := range refused {
		require.ErrorIs(t, try(), syscall.EROFS, name)
	}
	_, err = ro.Write([]byte("x"))
	require.ErrorIs(t, err, syscall.EBADF)
	require.Error(t, unix.Fallocate(int(ro.Fd()), 0, 0, 1))
}

func firstErr(f *os.File, err error) error {
	if err == nil {
		f.Close()
	}
	return err
}

func TestProgramsOverTheMount(t *testing.T) {
	src := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(src, "mod.py"), []byte("import sub.leaf\nx = sub.leaf.x\n"), 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(src, "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(src, "sub/leaf.py"), []byte("x = 42\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(src, "m.js"), []byte("module.exports = require('./sub/leaf.js') + 1\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(src, "sub/leaf.js"), []byte("module.exports = 41\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(src, "run.sh"), []byte("#!/bin/sh\necho ran\n"), 0o755))
	for i := range 3 { // equal content under several names
		require.NoError(t, os.WriteFile(filepath.Join(src, "same"+string(rune('0'+i))), []byte("same"), 0o644))
	}
	truebin, err := exec.LookPath("true")
	require.NoError(t, err)
	b, err := os.ReadFile(truebin)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(src, "true"), b, 0o755))
	r := newRig(t)
	v := push(t, r.store, "XC101", src)
	r.start()
	root, copied := filepath.Join(r.mnt, "XC101", v), t.TempDir()
	for _, c := range [][]string{
		{"42", "python3", "-c", "import sys; sys.path.insert(0, sys.argv[1]); import mod; print(mod.x)", root},
		{"42", "node", "-e", "console.log(require(process.argv[1] + '/m.js'))", root},
		{"ran", root + "/run.sh"},
		{"", root + "/true"},
		{"", "sh", "-c", `tar -C "$0" -cf - . | tar -C "$1" -xf - && diff -r "$0" "$1"`, root, t.TempDir()},
		{"", "sh", "-c", `cp -a "$0"/. "$1" && diff -r "$0" "$1"`, root, t.TempDir()},
		{"", "rsync", "-a", root + "/", copied},
		{"", "diff", "-r", root, copied},
		{"", "rsync", "-ain", root + "/", copied}, // finds nothing left to do
		{"", "sh", "-c", `cd "$1" && git init -q . && git --work-tree="$0" add -A && git --work-tree="$0" diff --exit-code`, root, t.TempDir()},
		{"", "cmp", root + "/same0", root + "/same1"},
	} {
		if _, err := exec.LookPath(c[1]); err != nil {
			if os.Getenv("REQUIRE_ALL") == "1" {
				t.Error("REQUIRE_ALL=1, but there is no", c[1])
			}
			t.Log("not installed:", c[1])
			continue
		}
		cmd := exec.Command(c[1], c[2:]...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%v: %s", c, out)
		require.Equal(t, c[0], strings.TrimSpace(string(out)), "%v", c)
	}
}

// Two versions whose modules have one name and one size: with a constant mtime
// Python would take the bytecode of the first for that of the second.
func TestEqualSizesDoNotConfuseBytecode(t *testing.T) {
	_, err := exec.LookPath("python3")
	need(t, err == nil, "python3")
	r := newRig(t)
	var versions []string
	for _, x := range []string{"11", "22"} {
		src := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(src, "mod.py"), []byte("x = "+x+"\n"), 0o644))
		versions = append(versions, push(t, r.store, "XC101", src))
	}
	r.start()
	pyc := t.TempDir()
	for round := range 2 {
		for i, want := range []string{"11", "22"} {
			// One path for both, as a worker has it.
			cmd := exec.Command("python3", "-c", `
import sys, os, shutil
sys.pycache_prefix = sys.argv[2]
os.chdir("/")
sys.path.insert(0, sys.argv[1])
import mod
print(mod.x)`, filepath.Join(r.mnt, "XC101", versions[i]), filepath.Join(pyc, "p"))
			// The bytecode cache is keyed by path, so give both versions one: bind them over it in turn.
			at := filepath.Join(pyc, "course")
			require.NoError(t, os.MkdirAll(at, 0o755))
			require.NoError(t, unix.Mount(filepath.Join(r.mnt, "XC101", versions[i]), at, "", unix.MS_BIND, ""))
			cmd.Args[3] = at
			out, err := cmd.CombinedOutput()
			require.NoError(t, unix.Unmount(at, 0))
			require.NoError(t, err, string(out))
			require.Equal(t, want, strings.TrimSpace(string(out)), "round %d", round)
		}
	}
}

func TestCurrentMovesUnderItsReaders(t *testing.T) {
	t.Parallel() // it waits more than it works
	r := newRig(t)
	src := t.TempDir()
	file := filepath.Join(src, "n")
	require.NoError(t, os.WriteFile(file, []byte("0"), 0o644))
	first := push(t, r.store, "XC101", src)
	r.start()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last := "0"
			for {
				select {
				case <-stop:
					return
				default:
				}
				b, err := os.ReadFile(r.mnt + "/XC101/current/n")
				if err != nil || string(b) < last {
					t.Errorf("%q after %q: %v", b, last, err)
					return
				}
				last = string(b)
				if b, err := os.ReadFile(r.mnt + "/XC101/" + first + "/n"); err != nil || string(b) != "0" {
					t.Errorf("the first version reads %q, %v", b, err)
					return
				}
			}
		})
	}
	for _, n := range []string{"1", "2", "3"} {
		require.NoError(t, os.WriteFile(file, []byte(n), 0o644))
		v := push(t, r.store, "XC101", src)
		eventually(t, "current follows", func() bool {
			b, err := os.ReadFile(r.mnt + "/XC101/current/n")
			return err == nil && string(b) == n
		})
		l, err := os.Readlink(r.mnt + "/XC101/current")
		require.NoError(t, err)
		require.Equal(t, v, l)
	}
	close(stop)
	wg.Wait()
	names := list(t, r.mnt+"/XC101")
	require.Len(t, names, 5, "four versions and current")
	require.Equal(t, "current", names[len(names)-1])
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	sort.Strings(names)
	return names
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel() // it waits more than it works
	r := newRig(t)
	v := push(t, r.store, "XC101", sample(t))
	r.start()
	for _, p := range []string{
		"nope", "..x", "a b", "XC101/nope", "XC101/" + strings.Repeat("0", 40), "XC101/" + strings.ToUpper(v),
		"XC101/" + v + "/nope", "XC101/" + v + "/questions/a/nope", ".chunkfs/nope", "nope/current",
	} {
		_, err := os.Lstat(filepath.Join(r.mnt, p))
		require.ErrorIs(t, err, fs.ErrNotExist, p)
	}
	_, err := os.ReadDir(r.mnt + "/XC101/current/infoCourse.json")
	require.ErrorIs(t, err, syscall.ENOTDIR)
	// What appears later is seen at once, although its absence was asked for.
	push(t, r.store, "nope", sample(t))
	_, err = os.ReadFile(r.mnt + "/nope/current/infoCourse.json")
	require.NoError(t, err)
	require.Equal(t, []string{"XC101", "nope"}, list(t, r.mnt))
}

func TestStatusIsFreshAtEveryRead(t *testing.T) {
	r := newRig(t)
	push(t, r.store, "XC101", sample(t))
	r.start()
	before := r.status()
	for range 3 {
		out, err := exec.Command("cat", r.mnt+"/.chunkfs/status").Output()
		require.NoError(t, err)
		require.Contains(t, string(out), "cache ")
	}
	after := r.status()
	require.Equal(t, r.cmd.Process.Pid, after.PID)
	require.GreaterOrEqual(t, after.Requests["lookup"], before.Requests["lookup"]+3)
	_, err := os.ReadFile(r.mnt + "/XC101/current/infoCourse.json")
	require.NoError(t, err)
	require.Greater(t, r.status().Cache.Misses, after.Cache.Misses)
	versions, err := os.ReadFile(r.mnt + "/.chunkfs/versions")
	require.NoError(t, err)
	require.Contains(t, string(versions), "XC101\t")
}

func TestAWalkWarmsFilesForEver(t *testing.T) {
	r := newRig(t)
	src := sample(t)
	v1 := push(t, r.store, "XC101", src)
	r.start()
	readAll := func(v string) {
		t.Helper()
		for _, s := range walk(t, filepath.Join(r.mnt, "XC101", v)) {
			if s.mode.IsRegular() {
				_, err := os.ReadFile(filepath.Join(r.mnt, "XC101", v, s.path))
				require.NoError(t, err)
			}
		}
	}
	readAll(v1)
	lockPages(t, filepath.Join(r.mnt, "XC101", v1))
	before := r.status()
	readAll(v1)
	after := r.status()
	require.Equal(t, before.Requests["read"]+1, after.Requests["read"], "only the status itself was read")
	require.Equal(t, before.Requests["open"], after.Requests["open"])
	require.LessOrEqual(t, after.Requests["lookup"]-before.Requests["lookup"], int64(10))
	require.LessOrEqual(t, after.Requests["getattr"]-before.Requests["getattr"], int64(10))

	// A version with one changed file: its pack is fetched and its bytes are read, nothing else.
	require.NoError(t, os.WriteFile(filepath.Join(src, "questions/a/server.py"), []byte("changed"), 0o644))
	v2 := push(t, r.store, "XC101", src)
	fetched := r.fetches()
	before = r.status()
	readAll(v2)
	after = r.status()
	require.Equal(t, before.Requests["read"]+2, after.Requests["read"], "the changed file and the status")
	require.Equal(t, fetched+2, r.fetches(), "the manifest and one pack")
}

// lockPages keeps the kernel from reclaiming what it has of a tree's files, until
// the test ends. Reclaim takes any clean page of any filesystem at any time, one by one
// where DAMON's proactive reclaim looks for cold ones; those would be read again, and that is no fault of
// the mount. Whatever a mount itself does to lose its pages takes locked ones too.
func lockPages(t *testing.T, root string) {
	t.Helper()
	for _, s := range walk(t, root) {
		if !s.mode.IsRegular() || s.size == 0 {
			continue
		}
		lockPage(t, filepath.Join(root, s.path), int(s.size))
	}
}

// lockPage does it for one file.
func lockPage(t *testing.T, path string, size int) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, unix.Mlock(mem), path)
	t.Cleanup(func() { _ = unix.Munmap(mem) })
}

func TestStaleMountIsReplacedAndALiveOneIsNot(t *testing.T) {
	r := newRig(t)
	push(t, r.store, "XC101", sample(t))
	r.start()
	_, err := Attach(t.Context(), r.mnt)
	require.ErrorIs(t, err, ErrMounted)
	r.kill()
	_, err = os.Stat(r.mnt)
	require.ErrorIs(t, err, syscall.ENOTCONN)
	r.start()
	require.Equal(t, []string{"XC101"}, list(t, r.mnt))
}

func TestTermUnmountsAlsoWhenBusy(t *testing.T) {
	t.Parallel() // it waits more than it works
	r := newRig(t)
	push(t, r.store, "XC101", sample(t))
	for _, busy := range []bool{false, true} {
		r.start()
		f, err := os.Open(r.mnt + "/XC101/current/infoCourse.json")
		require.NoError(t, err)
		if !busy {
			f.Close()
		}
		require.NoError(t, r.cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, r.cmd.Wait())
		f.Close()
		require.False(t, mounted(r.mnt))
		require.Empty(t, list(t, r.mnt))
	}
}

func TestDescriptorsAreClosedOnExec(t *testing.T) {
	r := newRig(t)
	push(t, r.store, "XC101", sample(t))
	r.start()
	require.Equal(t, []string{"XC101"}, list(t, r.mnt))
	dir := "/proc/" + strconv.Itoa(r.cmd.Process.Pid)
	fds, err := os.ReadDir(dir + "/fdinfo")
	require.NoError(t, err)
	for _, fd := range fds {
		if own, err := os.ReadFile("/proc/self/fdinfo/" + fd.Name()); err == nil && !strings.Contains(string(own), "0200") {
			continue // inherited, from before us
		}
		info, err := os.ReadFile(dir + "/fdinfo/" + fd.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		link, _ := os.Readlink(dir + "/fd/" + fd.Name())
		require.Regexp(t, `flags:\s+0?2\d{6}`, string(info), "descriptor %s to %s", fd.Name(), link) // O_CLOEXEC is 02000000
	}
}
