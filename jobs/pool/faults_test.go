package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
	"github.com/prairielambda/prairielambda/test/machine"
)

// deadMount mounts a FUSE filesystem whose daemon has already gone: the kernel
// answers ENOTCONN to whatever would ask it.
func deadMount(t *testing.T, dir string) (umount func()) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil || os.Getuid() != 0 {
		machine.Skip(t, "no FUSE here: %v", err)
	}
	opts := fmt.Sprintf("fd=%d,rootmode=40755,user_id=0,group_id=0,allow_other", fd)
	require.NoError(t, unix.Mount("gone", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, opts))
	unix.Close(fd)
	umount = func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }
	t.Cleanup(umount)
	return umount
}

const usesHelper = "import helper\ndef generate(data): data['params']['x'] = helper.X"

// A mount that fails below a call is our failure, never the course's.
func TestASickMountIsOurs(t *testing.T) {
	dir := tree(t, map[string]string{
		"questions/q/info.json": "{}", "questions/q/server.py": usesHelper, "serverFilesCourse/helper.py": "X = 1",
		"questions/liar/info.json": "{}", "questions/liar/server.py": "import os\ndef generate(data): os._exit(74)",
	})
	for name, spares := range map[string]int{"on demand": -1, "spares": 4} {
		t.Run(name, func(t *testing.T) {
			umount := deadMount(t, filepath.Join(dir, "c", ver, "serverFilesCourse"))
			p := newPool(t, dir, func(c *Config) { c.Spares = spares })
			for range 4 {
				inv := question("q", "generate")
				inv.Course, inv.Version, inv.Data = "c", Current, json.RawMessage(`{"params":{}}`)
				_, err := p.Do(context.Background(), &inv)
				require.ErrorIs(t, err, unix.ENOTCONN)
				time.Sleep(50 * time.Millisecond) // a spare may come
			}
			umount()
			p = newPool(t, dir, func(c *Config) { c.Spares = spares })
			r := do(t, p, question("liar", "generate"))
			require.Equal(t, jobs.Killed, r.Calls[0].Outcome)
			require.Contains(t, r.Calls[0].Message, "code 74")
		})
	}
}

// A worker whose mount was replaced goes on with the new one.
func TestAReplacedMountIsNoticed(t *testing.T) {
	files := map[string]string{
		"questions/q/info.json": "{}", "questions/q/server.py": usesHelper, "serverFilesCourse/helper.py": "X = 1",
		"clientFilesCourse/a.txt": "a",
	}
	dir := tree(t, files)
	p := newPool(t, dir, nil)
	for range 6 { // with spares of both kinds
		require.Equal(t, jobs.OK, do(t, p, question("q", "generate")).Calls[0].Outcome)
		time.Sleep(50 * time.Millisecond)
	}
	c := p.cfg.Courses
	// The daemon goes: what was open answers ENOTCONN from now on.
	gone := t.TempDir()
	deadMount(t, gone)
	stale := func() *os.File {
		fd, err := unix.Open(gone, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		return os.NewFile(uintptr(fd), "stale")
	}
	spoil := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		require.NotEmpty(t, c.open)
		for _, v := range c.open {
			v.dir = stale()
		}
		c.root = stale()
	}
	spoil()
	r := do(t, p, jobs.Invocation{Question: "q", Calls: []jobs.Call{{Type: jobs.Question, Method: "generate"}, {Type: jobs.Question, Method: "generate"}}})
	require.Equal(t, []jobs.Outcome{jobs.OK, jobs.OK}, outcomes(r))
	require.Equal(t, jobs.OK, do(t, p, question("q", "generate")).Calls[0].Outcome)
	spoil()
	f, _, err := c.ClientFile("c", Current, "clientFilesCourse/a.txt")
	require.NoError(t, err)
	f.Close()
	s, err := p.OpenSession(context.Background(), &jobs.Invocation{Course: "c", Version: ver, Question: "q"})
	require.NoError(t, err)
	s.Close()
}

// Several answers of one invocation share one bound.
func TestAnswersOfOneInvocationAreBounded(t *testing.T) {
	p := newPool(t, tree(t, map[string]string{
		"questions/q/info.json": "{}", "questions/q/server.py": "def render(data, html): return 'x' * 60000",
	}), func(c *Config) { c.Default.Result = 64 << 10 })
	inv := jobs.Invocation{Question: "q"}
	for range 8 {
		inv.Calls = append(inv.Calls, jobs.Call{Type: jobs.Question, Method: "render"})
	}
	r := do(t, p, inv)
	require.Equal(t, []jobs.Outcome{
		jobs.OK, jobs.OK, jobs.OK, jobs.OK, jobs.OutputTooLarge, jobs.SessionLost, jobs.SessionLost, jobs.SessionLost,
	}, outcomes(r), "4 x 64 KiB hold four answers of 60,000 bytes")
}

// Code inside can write frames of its own; none of the wrong kind is believed.
func TestForgedFramesAreNoAnswers(t *testing.T) {
	frames := map[string]string{
		"html for data":   `{"outcome":"ok","html":"x"}`,
		"file for data":   `{"outcome":"ok","file":"eA=="}`,
		"two kinds":       `{"outcome":"ok","html":"x","data":{}}`,
		"a list for data": `{"outcome":"ok","data":[]}`,
		"no result":       `{"outcome":"ok"}`,
		"our outcome":     `{"outcome":"timeout"}`,
		"a strange word":  `{"outcome":"splendid","data":{}}`,
		"missing course":  `{"outcome":"missing","code":"course_missing"}`,
		"no object":       `[1]`,
		"no JSON":         `\xff\x00{`,
	}
	files := map[string]string{}
	for name, f := range frames {
		files["questions/"+name+"/info.json"] = "{}"
		files["questions/"+name+"/server.py"] = fmt.Sprintf(
			"import os, struct, time\ndef generate(data):\n    b = %q.encode('latin-1')\n    os.write(3, struct.pack('<I', len(b)) + b)\n    time.sleep(9)\n", f)
	}
	p := newPool(t, tree(t, files), nil)
	for name := range frames {
		t.Run(name, func(t *testing.T) {
			inv := question(name, "generate")
			inv.Calls = append(inv.Calls, inv.Calls[0])
			r := do(t, p, inv)
			require.Equal(t, jobs.Killed, r.Calls[0].Outcome, "%+v", r.Calls[0])
			require.Contains(t, r.Calls[0].Message, "answered")
			require.Equal(t, jobs.SessionLost, r.Calls[1].Outcome)
		})
	}
}

// Close ends calls that still run, and what comes after it is refused.
func TestCloseWhileCallsRun(t *testing.T) {
	dir := tree(t, map[string]string{
		"questions/q/info.json": "{}", "questions/q/server.py": "import time\ndef generate(data): time.sleep(1000)",
	})
	h, err := sandbox.Open(sandbox.Config{Slots: 16})
	require.NoError(t, err)
	c, err := OpenCourses(dir)
	require.NoError(t, err)
	p, err := New(context.Background(), Config{Host: h, Courses: c, Python: newPool(t, dir, nil).cfg.Python})
	require.NoError(t, err)
	inv := question("q", "generate")
	inv.Course, inv.Version, inv.Data = "c", Current, json.RawMessage(`{"params":{}}`)
	const calls = 6
	ended := make(chan error, calls)
	for range calls {
		go func() {
			_, err := p.Do(context.Background(), &inv)
			ended <- err
		}()
	}
	require.Eventually(t, func() bool { n, _ := p.Busy(); return n == calls }, 30*time.Second, time.Millisecond)
	p.Close()
	require.Len(t, ended, calls, "Close waits for them")
	for range calls {
		require.ErrorIs(t, <-ended, ErrClosed)
	}
	_, err = p.Do(context.Background(), &inv)
	require.ErrorIs(t, err, ErrClosed)
	_, err = p.OpenSession(context.Background(), &inv)
	require.True(t, errors.Is(err, ErrClosed))
	require.Eventually(t, func() bool { total, free, _ := h.Slots(); return free == total }, 30*time.Second, 5*time.Millisecond, "every slot came back")
	c.Close()
	h.Close()
}

// What sympy draws from differs from call to call, on spares of both kinds too.
func TestSympysOwnStreamIsFresh(t *testing.T) {
	p := newPool(t, tree(t, map[string]string{
		"questions/q/info.json": "{}",
		"questions/q/server.py": "def generate(data):\n    from sympy.core.random import rng\n    data['params']['r'] = rng.random()",
	}), whole)
	seen := map[string]bool{}
	claimed := int64(0)
	for i := 0; i < 12 || claimed == 0 && i < 400; i++ {
		r := do(t, p, question("q", "generate"))
		require.Equal(t, jobs.OK, r.Calls[0].Outcome, "%+v", r.Calls[0])
		require.False(t, seen[string(r.Data)], "%s", r.Data)
		seen[string(r.Data)] = true
		time.Sleep(30 * time.Millisecond)
		claimed, _, _ = p.Claims()
	}
	require.Positive(t, claimed)
}
