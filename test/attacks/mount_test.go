package attacks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/e2e/stack"
	"github.com/prairielambda/prairielambda/test/machine"
)

// chunks is a course on a chunkfs of its own, bound into the directory of courses
// as a worker's volumes are.
type chunks struct {
	*stack.Stack
	course, version string
}

func newChunks(t *testing.T, bin, courses, name string, files map[string]string) chunks {
	t.Helper()
	dir := t.TempDir()
	repo := filepath.Join(dir, "repo")
	files["infoCourse.json"] = `{"name":"` + name + `"}`
	for p, content := range files {
		p = filepath.Join(repo, p)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, []byte(content), 0o644))
	}
	_, err := course.GitInit(repo, "first")
	require.NoError(t, err)
	c := chunks{stack.New(dir, bin), name, ""}
	c.version, err = c.Push(name, repo)
	require.NoError(t, err)
	require.NoError(t, c.StartMount())
	t.Cleanup(func() {
		c.signal(t, unix.SIGCONT) // whatever the test did with it before
		require.NoError(t, c.Close())
	})
	point := filepath.Join(courses, name)
	require.NoError(t, os.Mkdir(point, 0o755))
	require.NoError(t, unix.Mount(filepath.Join(c.Mount, name), point, "", unix.MS_BIND, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(point, unix.MNT_DETACH)) })
	return c
}

// processes are those of the chunkfs that serves c.
func (c chunks) processes(t *testing.T) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, p := range all {
		b, _ := os.ReadFile(p)
		if bytes.Contains(b, []byte(filepath.Join(c.Bin, "chunkfs"))) && bytes.Contains(b, []byte(c.Dir+"/")) {
			pid, err := strconv.Atoi(strings.Split(p, "/")[2])
			require.NoError(t, err)
			pids = append(pids, pid)
		}
	}
	require.NotEmpty(t, pids)
	return pids
}

func (c chunks) signal(t *testing.T, s unix.Signal) {
	t.Helper()
	for _, pid := range c.processes(t) {
		require.NoError(t, unix.Kill(pid, s))
		require.Eventually(t, func() bool { return s != unix.SIGSTOP || stands(t, pid) }, 30*time.Second, time.Millisecond)
	}
}

// stands says that no thread of a process goes on: one that was told to stop answers
// until it has its turn to hear of it.
func stands(t *testing.T, pid int) bool {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	require.NoError(t, err)
	for _, f := range tasks {
		b, err := os.ReadFile(f)
		_, after, _ := strings.Cut(string(b), ") ")
		if err == nil && !strings.HasPrefix(after, "T") {
			return false
		}
	}
	return true
}

func (c chunks) call(ctx context.Context, p *pool.Pool, do string, wall time.Duration) (jobs.CallResult, error) {
	res, err := p.Do(ctx, &jobs.Invocation{
		Course: c.course, Version: pool.Current, Data: json.RawMessage(`{"params":{"do":"` + do + `"}}`),
		Calls: []jobs.Call{{Type: jobs.Question, Name: "q", Method: "generate"}}, Limits: jobs.Limits{Wall: wall},
	})
	if err != nil {
		return jobs.CallResult{}, err
	}
	return res.Calls[0], nil
}

// stall puts pipes that nobody writes in the place of the store's large blobs, so
// that whoever reads one waits, until the blobs are put back.
func (c chunks) stall(t *testing.T) (putBack func()) {
	t.Helper()
	var blobs []string
	store := strings.TrimPrefix(c.Store, "dir://")
	require.NoError(t, filepath.WalkDir(store, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if st, err := d.Info(); err != nil || st.Size() < 1<<20 {
			return err
		}
		blobs = append(blobs, p)
		return nil
	}))
	require.NotEmpty(t, blobs)
	for _, p := range blobs {
		require.NoError(t, os.Rename(p, p+".away"))
		require.NoError(t, unix.Mkfifo(p, 0o644))
	}
	return func() {
		for _, p := range blobs {
			require.NoError(t, os.Rename(p, p+".fifo"))
			require.NoError(t, os.Rename(p+".away", p))
			w, err := os.OpenFile(p+".fifo", os.O_RDWR, 0) // whoever waits reads nothing now
			require.NoError(t, err)
			time.Sleep(50 * time.Millisecond)
			require.NoError(t, w.Close())
			require.NoError(t, os.Remove(p+".fifo"))
		}
	}
}

// A chunkfs that is stopped takes no worker with it: the call in the middle of
// which that happens is answered at its limit, a process that the kernel will not
// let die keeps its slot in quarantine until it does, and other courses are served.
func TestChunkfsStoppedInMidCall(t *testing.T) {
	machine.Root(t)
	if os.Getenv(innerTier) != "" {
		t.Skip("the outer run proves it")
	}
	bin, err := stack.Build(t.TempDir(), "syncer", "chunkfs")
	require.NoError(t, err)
	courses := t.TempDir()
	require.NoError(t, os.Chmod(courses, 0o755))
	sick := newChunks(t, bin, courses, "sick", map[string]string{
		"questions/q/info.json": "{}", "questions/q/server.py": sickServer, "questions/q/big": noise(3 << 20),
	})
	ill := strings.Repeat("e", 64) // an environment that lies on the sick mount
	well := newChunks(t, bin, courses, "well", map[string]string{
		"questions/q/info.json": "{}", "questions/q/server.py": "def generate(data): data['params']['ok'] = 1\n",
		"questions/ill/info.json": "{}", "questions/ill/lambda.json": `{"environment":"lib@` + ill + `"}`,
	})
	lib := filepath.Join(courses, ".env", "lib", ill)
	require.NoError(t, os.MkdirAll(lib, 0o755))
	require.NoError(t, os.WriteFile(lib+".json", []byte("{}"), 0o644))
	require.NoError(t, unix.Mount(filepath.Join(sick.Mount, "sick", sick.version, "questions"), lib, "", unix.MS_BIND, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(lib, unix.MNT_DETACH)) })
	p := newPool(t, &world{courses: courses}, hostConfig(), 2)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	served := func() {
		t.Helper()
		for range 3 {
			r, err := well.call(ctx, p, "", limits.Wall)
			require.NoError(t, err)
			require.Equal(t, jobs.OK, r.Outcome, "%+v", r)
		}
	}
	// stopped calls do and stops chunkfs meanwhile; it returns how many slots that left stuck.
	stopped := func(do string) (stuck int) {
		t.Helper()
		type answer struct {
			r    jobs.CallResult
			err  error
			took time.Duration
		}
		c := make(chan answer, 1)
		go func() {
			begin := time.Now()
			r, err := sick.call(ctx, p, do, wallOfSick)
			c <- answer{r, err, time.Since(begin)}
		}()
		require.Eventually(t, func() bool { now, _ := p.Busy(); return now > 0 || len(c) > 0 }, 30*time.Second, time.Millisecond)
		time.Sleep(wallOfSick / 3)
		sick.signal(t, unix.SIGSTOP)
		defer sick.signal(t, unix.SIGCONT)
		served()
		a := <-c
		require.NoError(t, a.err)
		require.Equal(t, jobs.Timeout, a.r.Outcome, "%+v", a.r)
		require.GreaterOrEqual(t, a.took, wallOfSick)
		require.Less(t, a.took, wallOfSick+20*time.Second)
		require.Eventually(t, func() bool {
			var total, free int
			total, free, stuck = p.Slots()
			_, _, waiting := p.Claims()
			return stuck > 0 || free+waiting+p.Hot() == total
		}, 30*time.Second, 5*time.Millisecond)
		served()
		t.Logf("%s: answered after %v, %d slots stuck", do, a.took.Round(time.Millisecond), stuck)
		return stuck
	}
	served()

	// As many calls of the sick course as may run at once, and more: none of them
	// has its place while the mount is asked what it has.
	sick.signal(t, unix.SIGSTOP)
	asked, leave := context.WithCancel(ctx)
	answers := make(chan error)
	_, most := p.Busy()
	ask := func(course, qid string) {
		_, err := p.Do(asked, &jobs.Invocation{
			Course: course, Version: pool.Current, Data: json.RawMessage(`{"params":{}}`),
			Calls: []jobs.Call{{Type: jobs.Question, Name: qid, Method: "generate"}},
		})
		answers <- err
	}
	for i := range 3 * most {
		go ask(sick.course, "new/"+strconv.Itoa(i)) // nobody asked for it before
		go ask(well.course, "ill")
	}
	require.Never(t, func() bool { now, _ := p.Busy(); return now > 0 }, 300*time.Millisecond, 10*time.Millisecond)
	served()
	leave()
	for range 2 * 3 * most { // each can be given up
		require.ErrorIs(t, <-answers, context.Canceled)
	}
	served()
	sick.signal(t, unix.SIGCONT)
	asked = ctx
	go ask(well.course, "ill")
	require.NoError(t, <-answers, "the environment has no interpreter, which is its course's fault")

	// Reading: the kernel lets a killed reader go, also when chunkfs, whose store
	// stalls, has taken its request already.
	putBack := sick.stall(t)
	require.Zero(t, stopped("read"))
	putBack()

	// Looking names up: a request that chunkfs took before it was stopped is waited
	// for come what may. Whether there is one at that moment is chance.
	stuck := 0
	for range 60 {
		if stuck = stopped("stat"); stuck > 0 {
			break
		}
	}
	require.Equal(t, 1, stuck, "slots in quarantine")
	require.Eventually(t, func() bool { _, _, stuck := p.Slots(); return stuck == 0 }, 40*time.Second, 20*time.Millisecond, "it goes on, and the slot is back")
	served()
}

const wallOfSick = 600 * time.Millisecond

const sickServer = `
import os
def generate(data):
    if data["params"]["do"] == "read":
        data["params"]["n"] = len(open("big", "rb").read())
    n = 0
    while data["params"]["do"] == "stat":
        n += 1
        os.path.exists("no%d" % n)
`

func noise(n int) string {
	b := make([]byte, n)
	for i, x := 0, uint32(1); i < n; i++ {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return string(b)
}
