package pool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
	"github.com/prairielambda/prairielambda/test/machine"
)

// holding is what a process and the machine hold for it.
type holding struct {
	rss                        int64 // of this process
	zygotes                    int64 // resident memory of its zygotes
	fds, mounts, threads, dirs int
	cgroups                    int    // memory cgroups: ours, and the machine's dying ones
	own                        uint64 // the sum of the inodes of ours, which grow: where it is the same, none was replaced
	namespaces                 int    // of our children
	netns                      int    // network namespaces of the machine, as its allocator counts them
}

func holds(t testing.TB) (h holding) {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory() // what the heap keeps for later is no growth
	h.rss, h.threads = rss(t, "self"), count(t, "/proc/self/task/*")
	h.fds = count(t, "/proc/self/fd/*")
	h.dirs = count(t, fmt.Sprintf("%s/prairielambda-worker-%d-*/*", os.TempDir(), os.Getpid()))
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	h.mounts = bytes.Count(mounts, []byte("\n"))
	h.cgroups, h.own = memoryCgroups(t)
	for _, pid := range zygotes(t) {
		h.zygotes += rss(t, pid)
	}
	seen := map[string]bool{}
	for _, pid := range kids(t) {
		links, _ := filepath.Glob("/proc/" + pid + "/ns/*")
		for _, l := range links {
			if to, err := os.Readlink(l); err == nil {
				seen[to] = true
			}
		}
	}
	h.namespaces = len(seen)
	slabs, _ := os.ReadFile("/proc/slabinfo") // not every kernel has it
	for l := range strings.Lines(string(slabs)) {
		_, _ = fmt.Sscanf(l, "net_namespace %d", &h.netns)
	}
	return h
}

// kids are the children of this process: others use this machine too.
func kids(t testing.TB) (pids []string) {
	lists, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	for _, l := range lists {
		b, _ := os.ReadFile(l)
		pids = append(pids, strings.Fields(string(b))...)
	}
	return pids
}

// zygotes are our children that live in our own pid namespace.
func zygotes(t testing.TB) (pids []string) {
	own, err := os.Readlink("/proc/self/ns/pid")
	require.NoError(t, err)
	for _, pid := range kids(t) {
		if in, _ := os.Readlink("/proc/" + pid + "/ns/pid"); in == own {
			pids = append(pids, pid)
		}
	}
	return pids
}

func rss(t testing.TB, pid string) (bytes int64) {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if pid == "self" {
		require.NoError(t, err)
	}
	for l := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(l, "VmRSS: %d kB", &bytes); err == nil {
			return bytes << 10
		}
	}
	return 0
}

func count(t testing.TB, glob string) int {
	m, err := filepath.Glob(glob)
	require.NoError(t, err)
	return len(m)
}

// memoryCgroups counts those that live below this process's own worker directories,
// and those of the machine that were removed and are not gone: other tests have
// cgroups that live.
func memoryCgroups(t testing.TB) (n int, own uint64) {
	tree := "/sys/fs/cgroup/memory"
	b, err := os.ReadFile("/proc/cgroups")
	require.NoError(t, err)
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); f[0] == "memory" && f[1] != "0" {
			n, err = strconv.Atoi(f[2])
			require.NoError(t, err)
		}
	}
	all := n > 0 // the first version counts both; the second tells them apart
	if !all {
		tree = "/sys/fs/cgroup"
		b, err = os.ReadFile(tree + "/cgroup.stat")
		require.NoError(t, err)
		for l := range strings.Lines(string(b)) {
			_, _ = fmt.Sscanf(l, "nr_dying_descendants %d", &n)
		}
	}
	prefix := fmt.Sprintf("/prairielambda-worker-%d-", os.Getpid())
	require.NoError(t, filepath.WalkDir(tree, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // another test's, removed meanwhile
			return nil
		}
		if err != nil || !d.IsDir() {
			return err
		}
		if all {
			n--
		}
		if strings.Contains(p, prefix) {
			var st unix.Stat_t
			require.NoError(t, unix.Stat(p, &st))
			own += st.Ino
			n++
		}
		return nil
	}))
	return n, own
}

// soak makes n calls from two clients at once and compares what is held before
// and after, with the same number of spares waiting.
func soak(t *testing.T, p *Pool, n int, call func(i int)) (before, after holding) {
	t.Helper()
	settle := func() {
		require.Eventually(t, func() bool {
			total, free, stuck := p.Slots()
			_, _, waiting := p.Claims()
			return stuck == 0 && free+waiting+p.Hot() == total && waiting > 0 && len(zygotes(t)) == 1
		}, 30*time.Second, 50*time.Millisecond)
	}
	for i := range 100 {
		call(i)
	}
	settle()
	before = holds(t)
	var wg sync.WaitGroup
	begin := time.Now()
	for c := range 2 {
		wg.Go(func() {
			for i := range n / 2 {
				if call(100 + 2*i + c); t.Failed() {
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	settle()
	after = holds(t)
	spares, forks, _ := p.Claims()
	t.Logf("%d calls in %v, %d on spares and %d on demand, memory cgroups of our own replaced: %v\nbefore %+v\nafter  %+v",
		n, took.Round(time.Second), spares, forks, before.own != after.own, before, after)
	return before, after
}

// Calls leave nothing behind: no memory, no descriptor, no mount, no cgroup
// (dying ones counted), no namespace, no directory; also those that leave
// processes and files of their own.
func TestManyCallsLeaveNothing(t *testing.T) {
	files := map[string]string{}
	for i := range 40 {
		q := fmt.Sprintf("questions/q%d/", i)
		files[q+"info.json"] = "{}"
		files[q+"server.py"] = "def generate(data): data['params']['seed'] = str(hash('prairie'))\n"
		if i == 0 {
			files[q+"server.py"] = "import os, time\ndef generate(data):\n    open('/tmp/x', 'w').write('x' * 9999)\n    os.fork() or os.setsid() or time.sleep(999)\n"
		}
	}
	p := newPool(t, tree(t, files), nil)
	var mu sync.Mutex // guards seeds
	seeds := map[string]bool{}
	before, after := soak(t, p, machine.Length(100_000), func(i int) {
		r := do(t, p, question(fmt.Sprintf("q%d", i%40), "generate"))
		require.Equal(t, jobs.OK, r.Calls[0].Outcome, "%+v", r.Calls[0])
		mu.Lock()
		defer mu.Unlock()
		seeds[string(r.Data)] = true
	})
	require.Less(t, after.rss, before.rss+32<<20)
	require.Less(t, after.zygotes, before.zygotes+64<<20)
	require.InDelta(t, before.fds, after.fds, 100) // a spare has a handful
	require.Equal(t, before.mounts, after.mounts)
	require.LessOrEqual(t, after.threads, before.threads+16)
	require.LessOrEqual(t, after.dirs, before.dirs+8)
	require.True(t, after.own == before.own || after.cgroups <= before.cgroups+60)
	require.LessOrEqual(t, after.namespaces, before.namespaces+60)
	require.LessOrEqual(t, after.netns, before.netns+200)
	spares, forks, _ := p.Claims()
	require.Greater(t, int64(len(seeds)), (spares+forks)/maxForks, "a zygote, and its hash seed, lives for %d forks", maxForks)
}

// A memory cgroup that is removed lives on for as long as a page that was charged
// to it stays cached. Every call here is the first to read its file, so a cgroup
// a call would leave as many dying ones as there are calls.
func TestFirstReadersLeaveNoDyingCgroups(t *testing.T) {
	n := machine.Length(20_000)
	dir := tree(t, map[string]string{
		"questions/q/info.json":        "{}",
		"questions/q/server.py":        "def generate(data): data['params']['n'] = len(open('/course/serverFilesCourse/%d' % data['params']['i']).read())\n",
		"serverFilesCourse/readme.txt": "",
	})
	name := func(i int) string { return filepath.Join(dir, "c", ver, "serverFilesCourse", strconv.Itoa(i)) }
	for i := range n + 101 {
		require.NoError(t, os.WriteFile(name(i), bytes.Repeat([]byte("x"), 4096), 0o644))
	}
	forget(t, n+101, name)
	require.Zero(t, cached(t, name(n/2)), "the files are cached before anybody read them")
	p := newPool(t, dir, nil)
	before, after := soak(t, p, n, func(i int) {
		inv := question("q", "generate")
		inv.Data = fmt.Appendf(nil, `{"params":{"i":%d}}`, i)
		r := do(t, p, inv)
		require.Equal(t, jobs.OK, r.Calls[0].Outcome, "%+v", r.Calls[0])
		require.JSONEq(t, fmt.Sprintf(`{"params":{"i":%d,"n":4096}}`, i), string(r.Data))
	})
	require.Equal(t, 1, cached(t, name(n/2)), "the calls were the first readers")
	if after.own != before.own { // other tests leave dying ones, too
		require.LessOrEqual(t, after.cgroups, before.cgroups+60, "memory cgroups, dying ones included")
	}
}

// forget takes n files out of the page cache, once they are on disk.
func forget(t *testing.T, n int, name func(int) string) {
	t.Helper()
	for i := range n {
		f, err := os.Open(name(i))
		require.NoError(t, err)
		if i == 0 {
			_, _, e := unix.Syscall(unix.SYS_SYNCFS, f.Fd(), 0, 0)
			require.Zero(t, e)
		}
		require.NoError(t, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
		f.Close()
	}
}

// cached is how many of a file's pages are in memory; looking reads none.
func cached(t *testing.T, name string) (pages int) {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Munmap(m)) }()
	var in [1]byte
	_, _, e := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), 4096, uintptr(unsafe.Pointer(&in[0])))
	require.Zero(t, e)
	return int(in[0] & 1)
}

const stormVariable = "PRAIRIE_TEST_STORM"

// storm is a worker in the middle of its life, until it is killed.
func storm(dir string) {
	h, err := sandbox.Open(sandbox.Config{Slots: 8, Dir: filepath.Dir(dir)})
	if err != nil {
		panic(err)
	}
	c, err := OpenCourses(dir)
	if err != nil {
		panic(err)
	}
	p, err := New(context.Background(), Config{Host: h, Courses: c, Python: light(), Spares: 3})
	if err != nil {
		panic(err)
	}
	fmt.Println("up")
	for range 3 {
		go func() {
			for {
				inv := question("q", "generate")
				inv.Course, inv.Version, inv.Data = "c", Current, json.RawMessage(`{"params":{}}`)
				_, _ = p.Do(context.Background(), &inv)
			}
		}()
	}
	select {}
}

// A worker that is killed at any moment leaves no process, no mount, no cgroup
// and no directory once the next one has started.
func TestWorkerKilledAtRandomMoments(t *testing.T) {
	dir := tree(t, map[string]string{
		"questions/q/info.json": "{}",
		"questions/q/server.py": "import os, time\ndef generate(data):\n    if os.fork() == 0:\n        os.setsid(); time.sleep(1000)\n    time.sleep(0.005)\n",
	})
	r := rand.New(rand.NewPCG(7, 7))
	before := holds(t)
	killed := map[string]bool{}
	runtime.LockOSThread() // a child dies with the thread that started it
	defer runtime.UnlockOSThread()
	for i := range machine.Length(200) {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), stormVariable+"="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		if i%2 == 0 { // half of them in full swing, half while starting
			var b [3]byte
			_, _ = out.Read(b[:])
		}
		time.Sleep(time.Duration(r.IntN(400)) * time.Millisecond)
		worker := cmd.Process.Pid
		killed[strconv.Itoa(worker)] = true
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		require.Eventually(t, func() bool { return len(of(t, worker)) == 0 }, 30*time.Second, 10*time.Millisecond, "processes of worker %d: %v", worker, of(t, worker))
	}
	// The next start sweeps what is not a process.
	h, err := sandbox.Open(sandbox.Config{Slots: 1, Dir: filepath.Dir(dir)})
	require.NoError(t, err)
	h.Close()
	left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "prairielambda-worker-*"))
	require.NoError(t, err)
	require.Empty(t, left)
	after := holds(t)
	require.Equal(t, before.mounts, after.mounts)
	for _, c := range []string{"/sys/fs/cgroup/*", "/sys/fs/cgroup/*/*", "/sys/fs/cgroup/memory/*/*"} {
		dirs, err := filepath.Glob(c + "/prairielambda-worker-*")
		require.NoError(t, err)
		for _, d := range dirs {
			require.False(t, killed[strings.Split(filepath.Base(d), "-")[2]], "cgroup %s is nobody's", d)
		}
	}
}

// of lists processes in a cgroup that carries the worker's pid in its name.
func of(t testing.TB, worker int) (left []string) {
	procs, err := filepath.Glob("/proc/[0-9]*/cgroup")
	require.NoError(t, err)
	for _, p := range procs {
		b, err := os.ReadFile(p)
		if err == nil && strings.Contains(string(b), fmt.Sprintf("prairielambda-worker-%d-", worker)) {
			left = append(left, p)
		}
	}
	return left
}
