package pool

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	lambdaruntime "github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// scaled is n in a soak and a fiftieth of it otherwise.
func scaled(n int) int {
	if os.Getenv("SOAK") == "1" {
		return n
	}
	return max(n/50, 1)
}

// holding is what a process and the machine hold for it.
type holding struct {
	rss                        int64
	fds, mounts, threads, dirs int
	cgroups                    string
	namespaces                 int
}

func holds(t testing.TB, tmp string) (h holding) {
	t.Helper()
	runtime.GC()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	for l := range strings.Lines(string(status)) {
		var n int
		if _, err := fmt.Sscanf(l, "VmRSS: %d kB", &n); err == nil {
			h.rss = int64(n) << 10
		}
		if _, err := fmt.Sscanf(l, "Threads: %d", &n); err == nil {
			h.threads = n
		}
	}
	count := func(glob string) int {
		m, err := filepath.Glob(glob)
		require.NoError(t, err)
		return len(m)
	}
	h.fds = count("/proc/self/fd/*")
	h.dirs = count(tmp + "/prairielambda-worker-*/*")
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	h.mounts = bytes.Count(mounts, []byte("/prairielambda-worker-"))
	h.cgroups = memoryCgroups(t)
	seen := map[string]bool{}
	kids, err := filepath.Glob("/proc/self/task/*/children") // ours alone: others use this machine too
	require.NoError(t, err)
	for _, k := range kids {
		b, _ := os.ReadFile(k)
		for _, pid := range strings.Fields(string(b)) {
			links, _ := filepath.Glob("/proc/" + pid + "/ns/*")
			for _, l := range links {
				if to, err := os.Readlink(l); err == nil {
					seen[to] = true
				}
			}
		}
	}
	h.namespaces = len(seen)
	return h
}

// memoryCgroups is the kernel's own count, dying ones included: /proc/cgroups,
// or cgroup.stat where there is only the second version.
func memoryCgroups(t testing.TB) string {
	b, err := os.ReadFile("/proc/cgroups")
	require.NoError(t, err)
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); f[0] == "memory" {
			return f[2]
		}
	}
	return "0"
}

// Calls that each read a file of their own leave nothing behind: no memory, no
// descriptor, no mount, no cgroup (dying ones counted), no namespace, no directory.
func TestManyCallsLeaveNothing(t *testing.T) {
	n := scaled(100_000)
	files := map[string]string{}
	const server = "import os\ndef generate(data):\n    data['params']['n'] = len(open(os.path.dirname(__file__) + '/big').read())\n    os.system('true')\n"
	for i := range 40 {
		q := fmt.Sprintf("questions/q%d/", i)
		files[q+"info.json"], files[q+"server.py"], files[q+"big"] = "{}", server, strings.Repeat("x", 1<<16)
	}
	dir := tree(t, files)
	p := newPool(t, dir, nil)
	call := func(i int) {
		r := do(t, p, question(fmt.Sprintf("q%d", i%40), "generate"))
		require.Equal(t, jobs.OK, r.Calls[0].Outcome, "%+v", r.Calls[0])
	}
	settle := func() {
		require.Eventually(t, func() bool {
			_, free, stuck := p.Slots()
			_, _, waiting := p.Claims()
			total, _, _ := p.Slots()
			return stuck == 0 && free+waiting == total && waiting > 0
		}, 20*time.Second, 50*time.Millisecond)
	}
	for i := range 100 {
		call(i)
	}
	settle()
	before := holds(t, os.TempDir())
	var wg sync.WaitGroup
	for c := range 2 {
		wg.Go(func() {
			for i := range n / 2 {
				call(2*i + c)
			}
		})
	}
	wg.Wait()
	settle()
	after := holds(t, os.TempDir())
	t.Logf("%d calls: before %+v, after %+v", n, before, after)
	require.Less(t, after.rss, before.rss+32<<20)
	require.InDelta(t, before.fds, after.fds, 100) // a spare has a handful
	require.Equal(t, before.mounts, after.mounts)
	require.LessOrEqual(t, after.threads, before.threads+16)
	require.LessOrEqual(t, after.dirs, before.dirs+8) // other tests of this machine
	a, _ := strconv.Atoi(after.cgroups)
	b, _ := strconv.Atoi(before.cgroups)
	require.LessOrEqual(t, a, b+60, "memory cgroups, dying ones included")
	require.LessOrEqual(t, after.namespaces, before.namespaces+60)
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
	p, err := New(context.Background(), Config{Host: h, Courses: c, Python: lambdaruntime.Python("/usr/bin/python3"), Spares: 3})
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
	before := holds(t, filepath.Dir(dir))
	killed := map[string]bool{}
	for i := range scaled(200) {
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
		require.Eventually(t, func() bool { return len(of(t, worker)) == 0 }, 5*time.Second, 10*time.Millisecond, "processes of worker %d: %v", worker, of(t, worker))
	}
	// The next start sweeps what is not a process.
	h, err := sandbox.Open(sandbox.Config{Slots: 1, Dir: filepath.Dir(dir)})
	require.NoError(t, err)
	h.Close()
	left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "prairielambda-worker-*"))
	require.NoError(t, err)
	require.Empty(t, left)
	after := holds(t, filepath.Dir(dir))
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
