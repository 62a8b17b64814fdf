package pool

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
	"github.com/prairielambda/prairielambda/test/machine"
)

func TestMain(m *testing.M) {
	sandbox.Stage()
	machine.OwnMounts()
	if dir := os.Getenv(stormVariable); dir != "" { // see TestWorkerKilledAtRandomMoments
		storm(dir)
	}
	os.Exit(m.Run())
}

const ver = "0123456789012345678901234567890123456789"

// tree writes files and makes <dir>/c/<ver> look like a mount with one version.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	for name, content := range files {
		p := filepath.Join(dir, "c", ver, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, []byte(content), 0o644))
	}
	require.NoError(t, os.Symlink(ver, filepath.Join(dir, "c", Current)))
	return dir
}

// light is an interpreter without the large libraries: it starts in a fraction of
// the time, and most tests need none of them. A soak has all.
func light() sandbox.ZygoteConfig {
	c := runtime.Python("/usr/bin/python3")
	if !machine.Soak() {
		c.Init = json.RawMessage(`{"preload":[]}`)
	}
	return c
}

// whole gives a pool the interpreter that workers have.
func whole(c *Config) { c.Python = runtime.Python("/usr/bin/python3") }

func newPool(t *testing.T, dir string, change func(*Config)) *Pool {
	t.Helper()
	h, err := sandbox.Open(sandbox.Config{Slots: 16})
	require.NoError(t, err)
	t.Cleanup(h.Close)
	c, err := OpenCourses(dir)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	cfg := Config{Host: h, Courses: c, Python: light(), Program: runtime.Program}
	cfg.Default.Wall = 6 * time.Second
	cfg.Default.CPU = 4 * time.Second
	if change != nil {
		change(&cfg)
	}
	p, err := New(context.Background(), cfg)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

func do(t *testing.T, p *Pool, inv jobs.Invocation) *jobs.Result {
	t.Helper()
	if inv.Course == "" {
		inv.Course, inv.Version = "c", Current
	}
	if inv.Data == nil {
		inv.Data = json.RawMessage(`{"params":{},"variant_seed":1}`)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := p.Do(ctx, &inv)
	require.NoError(t, err)
	require.Equal(t, ver, r.Version)
	return r
}

func question(qid, method string) jobs.Invocation {
	return jobs.Invocation{Calls: []jobs.Call{{Type: jobs.Question, Name: qid, Method: method}}}
}

const misbehaviour = `
import os, sys, time
def generate(data):
    data["params"]["x"] = 1
    print("generated")
def prepare(data): raise ValueError("on purpose")
def render(data, html):
    while True: pass
def parse(data):
    for _ in range(1 << 20): sys.stdout.write("x" * 1024)
def grade(data):
    pids = []
    while True:
        pid = os.fork()
        if pid == 0: time.sleep(100)
        pids.append(pid)
def test(data): os._exit(3)
def file(data): return bytearray(4 << 30)
`

func TestOutcomes(t *testing.T) {
	p := newPool(t, tree(t, map[string]string{
		"questions/bad/info.json": "{}", "questions/bad/server.py": misbehaviour,
		"questions/segv/info.json": "{}", "questions/segv/server.py": "import ctypes\ndef generate(data): ctypes.string_at(0)",
		"questions/sleep/info.json": "{}", "questions/sleep/server.py": "import time\ndef generate(data): time.sleep(1000)",
		"questions/kill/info.json": "{}", "questions/kill/server.py": "import os\ndef generate(data):\n  os.kill(-1, 9)\n  data['params']['ok'] = 1",
	}), func(c *Config) { c.Default.Memory = 96 << 20 })
	for _, tc := range []struct {
		qid, method string
		want        []jobs.Outcome
		text        string
	}{
		{"bad", "generate", []jobs.Outcome{jobs.OK}, ""},
		{"bad", "prepare", []jobs.Outcome{jobs.QuestionError}, "on purpose"},
		{"bad", "render", []jobs.Outcome{jobs.Timeout}, "limit"},
		{"bad", "parse", []jobs.Outcome{jobs.OutputTooLarge}, "printed more"},
		{"bad", "grade", []jobs.Outcome{jobs.QuestionError}, "Resource temporarily unavailable"},
		{"bad", "test", []jobs.Outcome{jobs.Killed}, "code 3"},
		{"bad", "file", []jobs.Outcome{jobs.OutOfMemory, jobs.QuestionError}, "emory"},
		{"segv", "generate", []jobs.Outcome{jobs.Killed}, "segmentation"},
		{"sleep", "generate", []jobs.Outcome{jobs.Timeout}, "limit of 500ms"},
		{"kill", "generate", []jobs.Outcome{jobs.OK, jobs.QuestionError, jobs.Killed}, ""},
		{"none", "generate", []jobs.Outcome{jobs.Missing}, ""},
		{"bad", "nope", []jobs.Outcome{jobs.Missing}, ""},
	} {
		t.Run(tc.qid+"/"+tc.method, func(t *testing.T) {
			inv := question(tc.qid, tc.method)
			if tc.method == "render" {
				html := ""
				inv.Calls[0].HTML = &html
			}
			if slices.Contains(tc.want, jobs.Timeout) {
				inv.Limits.Wall = 500 * time.Millisecond
			}
			r := do(t, p, inv)
			require.Len(t, r.Calls, 1)
			c := r.Calls[0]
			require.Contains(t, tc.want, c.Outcome, "%+v", c)
			require.Contains(t, c.Message+c.Traceback, tc.text)
			// and the next call is answered
			next := do(t, p, question("bad", "generate"))
			require.Equal(t, jobs.OK, next.Calls[0].Outcome, "%+v", next.Calls[0])
			require.Equal(t, "generated\n", next.Calls[0].Output)
		})
	}
	for range 100 { // whatever was killed has given its slot back
		if _, _, stuck := p.cfg.Host.Slots(); stuck == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("slots stay quarantined")
}

func TestMissingCourseAndVersion(t *testing.T) {
	p := newPool(t, tree(t, map[string]string{"questions/q/info.json": "{}"}), nil)
	for _, tc := range []struct{ course, version, code string }{
		{"other", Current, jobs.CourseMissing},
		{"../c", Current, jobs.CourseMissing},
		{"c", strings.Repeat("a", 40), jobs.VersionMissing},
		{"c", "../" + ver, jobs.VersionMissing},
		{"other", strings.Repeat("a", 40), jobs.CourseMissing},
	} {
		inv := question("q", "generate")
		inv.Course, inv.Version, inv.Data = tc.course, tc.version, json.RawMessage("{}")
		_, err := p.Do(context.Background(), &inv)
		var je *jobs.Error
		require.True(t, errors.As(err, &je), "%v", err)
		require.Equal(t, tc.code, je.Code)
	}
}

func TestSessionThreadsDataAndSurvivesAnException(t *testing.T) {
	p := newPool(t, tree(t, map[string]string{
		"questions/q/info.json": "{}",
		"questions/q/server.py": `
n = 0
def generate(data):
    global n
    n += 1
    data["params"]["n"] = n
def parse(data): raise RuntimeError("no")
`,
	}), nil)
	inv := jobs.Invocation{Question: "q", Calls: []jobs.Call{
		{Type: jobs.Question, Method: "generate"}, {Type: jobs.Question, Method: "parse"}, {Type: jobs.Question, Method: "generate"},
	}}
	r := do(t, p, inv)
	require.Equal(t, []jobs.Outcome{jobs.OK, jobs.QuestionError, jobs.OK}, outcomes(r))
	require.JSONEq(t, `{"params":{"n":2},"variant_seed":1}`, string(r.Data))
	inv.StopOnError = true
	r = do(t, p, inv)
	require.Equal(t, []jobs.Outcome{jobs.OK, jobs.QuestionError, jobs.SessionLost}, outcomes(r))
}

func outcomes(r *jobs.Result) (o []jobs.Outcome) {
	for _, c := range r.Calls {
		o = append(o, c.Outcome)
	}
	return o
}

func TestSparesAnswerAndAreFresh(t *testing.T) {
	p := newPool(t, tree(t, map[string]string{
		"questions/q/info.json": "{}",
		"questions/q/server.py": `
import os, random
def generate(data):
    data["params"]["leftover"] = os.path.exists("/tmp/mark")
    open("/tmp/mark", "w").close()
    data["params"]["seeded"] = random.random()
    data["params"]["urandom"] = random.SystemRandom().random()
`,
	}), nil)
	seen := map[string]bool{}
	for i := range 20 {
		r := do(t, p, question("q", "generate"))
		require.Equal(t, jobs.OK, r.Calls[0].Outcome, "%+v", r.Calls[0])
		var d struct {
			Params struct {
				Leftover        bool
				Seeded, Urandom json.Number
			}
		}
		require.NoError(t, json.Unmarshal(r.Data, &d))
		require.False(t, d.Params.Leftover)
		require.Equal(t, "0.13436424411240122", d.Params.Seeded.String())
		require.False(t, seen[d.Params.Urandom.String()])
		seen[d.Params.Urandom.String()] = true
		if i%5 == 4 {
			time.Sleep(100 * time.Millisecond) // let spares grow
		}
	}
}

func TestCallerLeaves(t *testing.T) {
	p := newPool(t, tree(t, map[string]string{
		"questions/q/info.json": "{}", "questions/q/server.py": "import time\ndef generate(data): time.sleep(1000)",
	}), nil)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(200*time.Millisecond, cancel)
	inv := question("q", "generate")
	inv.Course, inv.Version, inv.Data = "c", Current, json.RawMessage("{}")
	_, err := p.Do(ctx, &inv)
	require.ErrorIs(t, err, context.Canceled) // at its limit it would be an answer
}

// Spares are bounded in number and in memory, and those of the course that was
// idle longest make room.
func TestSparesAreBoundedAcrossCourses(t *testing.T) {
	dir := tree(t, map[string]string{"questions/q/info.json": "{}", "questions/q/server.py": "def generate(data): pass"})
	for _, c := range []string{"c2", "c3", "c4"} {
		require.NoError(t, os.CopyFS(filepath.Join(dir, c, ver), os.DirFS(filepath.Join(dir, "c", ver))))
	}
	for name, change := range map[string]func(*Config){
		"number": func(c *Config) { c.Spares = 2 },
		"memory": func(c *Config) { c.Spares, c.SpareMemory = 8, 2*leastHeld },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, dir, change)
			for _, course := range []string{"c", "c2", "c3", "c4"} {
				inv := question("q", "generate")
				inv.Course, inv.Version = course, ver
				require.Equal(t, jobs.OK, do(t, p, inv).Calls[0].Outcome)
				require.Eventually(t, func() bool { _, _, n := p.Claims(); return n > 0 }, 30*time.Second, 5*time.Millisecond)
			}
			time.Sleep(200 * time.Millisecond)
			_, _, waiting := p.Claims()
			require.LessOrEqual(t, waiting, 2)
			require.Eventually(t, func() bool { _, _, n := p.Claims(); return n > 0 }, 30*time.Second, 5*time.Millisecond)
			inv := question("q", "generate") // the newest course kept its own
			inv.Course, inv.Version = "c4", ver
			require.Eventually(t, func() bool {
				before, _, _ := p.Claims()
				require.Equal(t, jobs.OK, do(t, p, inv).Calls[0].Outcome)
				after, _, _ := p.Claims()
				return after > before
			}, 30*time.Second, 50*time.Millisecond)
		})
	}
}
