package attacks

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
	"github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
	"github.com/prairielambda/prairielambda/test/machine"
)

//go:embed testdata/*.py
var programs embed.FS

// An attack is a function of one of the programs in testdata; its section is the
// program's name, and the QID of the question that holds it.
type attack struct{ section, name string }

var sections = []string{"files", "kernel", "between", "resources", "interpreter", "protocol"}

func source(section string) string {
	b, err := programs.ReadFile("testdata/" + section + ".py")
	if err != nil {
		panic(err) // the compiler put it there
	}
	return string(b)
}

func corpus() (all []attack) {
	define := regexp.MustCompile(`(?m)^def ([a-z]\w*)\(\):`)
	for _, s := range sections {
		for _, m := range define.FindAllStringSubmatch(source(s), -1) {
			all = append(all, attack{s, m[1]})
		}
	}
	return all
}

// courseTree is a course whose questions are the attacks.
func courseTree() map[string]string {
	files := map[string]string{
		"questions/other/info.json": "{}", "questions/other/server.py": "# " + canary + "\ndef generate(data): pass\n",
		"questions/idle/info.json": "{}", "questions/idle/server.py": "def generate(data): pass\n",
		"elements/x/info.json": `{"controller":"x.py"}`, "elements/x/x.py": "",
		"serverFilesCourse/helper.py": "",
	}
	for _, s := range sections {
		files["questions/"+s+"/info.json"] = "{}"
		files["questions/"+s+"/server.py"] = source("prelude") + source(s)
	}
	return files
}

var limits = jobs.Limits{
	Wall: 10 * time.Second, CPU: 4 * time.Second, Memory: 128 << 20, Processes: 24,
	Output: 64 << 10, Result: 4 << 20, Files: 8 << 20,
}

// Tiers and delegated cgroups come from the outer run; see tier_test.go.
const (
	innerTier   = "PRAIRIE_TEST_TIER"
	innerCgroup = "PRAIRIE_TEST_CGROUP"
)

func TestMain(m *testing.M) {
	sandbox.Stage()
	if os.Getenv("PRAIRIE_TEST_PID1") != "" { // see TestRandomStreamsWhenTheWorkerIsProcessOne
		err := errors.New("not process 1")
		if os.Getpid() == 1 {
			err = errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, ""))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if os.Getenv(innerTier) == "" {
		machine.OwnMounts()
	} else if err := sandbox.EnterUserns(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func hostConfig() sandbox.Config {
	return sandbox.Config{Slots: 12, Tier: sandbox.Tier(os.Getenv(innerTier)), Cgroup: os.Getenv(innerCgroup)}
}

// newPool serves the world's course; spares is how many to keep, negative for none.
func newPool(t testing.TB, w *world, c sandbox.Config, spares int) *pool.Pool {
	t.Helper()
	h, err := sandbox.Open(c)
	require.NoError(t, err)
	t.Cleanup(h.Close)
	courses, err := pool.OpenCourses(w.courses)
	require.NoError(t, err)
	t.Cleanup(courses.Close)
	p, err := pool.New(context.Background(), pool.Config{
		Host: h, Courses: courses, Python: runtime.Python("/usr/bin/python3"), Program: runtime.Program,
		Default: limits, Spares: spares,
	})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

// result is what came of one attack, as far as an outsider sees it.
type result struct {
	jobs.CallResult
	got []any // what the program said of itself, when it came to that
	raw string
}

func attempt(t testing.TB, w *world, p *pool.Pool, a attack, extra map[string]any) result {
	t.Helper()
	r, err := try(t, w, p, a, extra)
	require.NoError(t, err, "an attack is the course's fault, never ours")
	return r
}

func try(t testing.TB, w *world, p *pool.Pool, a attack, extra map[string]any) (result, error) {
	t.Helper()
	in := w.forPrograms()
	for k, v := range extra {
		in[k] = v
	}
	data, err := json.Marshal(map[string]any{"params": map[string]any{"attack": a.name, "world": in}, "variant_seed": 1})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	res, err := p.Do(ctx, &jobs.Invocation{
		Course: "course", Version: pool.Current, Data: data,
		Calls:  []jobs.Call{{Type: jobs.Question, Name: a.section, Method: "generate"}},
		Limits: jobs.Limits{Wall: wall(a)},
	})
	if err != nil {
		return result{}, err
	}
	require.Len(t, res.Calls, 1)
	raw, err := json.Marshal(res.Calls[0])
	require.NoError(t, err)
	r := result{CallResult: res.Calls[0], raw: string(raw)}
	var d struct {
		Params struct {
			Got []any `json:"got"`
		} `json:"params"`
	}
	if r.Outcome == jobs.OK && json.Unmarshal(r.Data, &d) == nil {
		r.got = d.Params.Got
	}
	return r, nil
}

// attemptOn attempts a on a spare, or on demand. A spare that waited may be gone when
// the call comes: the question that all attacks are followed by is a hot one, and the
// pool may have dropped it for one of that question's own.
func attemptOn(t testing.TB, w *world, p *pool.Pool, a attack, spare bool) result {
	t.Helper()
	for range 10 {
		if spare {
			spareReady(t, w, p)
		}
		before, _, _ := p.Claims()
		r := attempt(t, w, p, a, nil)
		after, _, _ := p.Claims()
		if spare == (after > before) {
			return r
		}
		require.True(t, spare, "an attack on demand met a spare")
	}
	require.Fail(t, "ten spares were gone when the attack came", a.name)
	return result{}
}

// spareReady waits until the next call will be answered by a spare.
func spareReady(t testing.TB, w *world, p *pool.Pool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		if _, _, waiting := p.Claims(); waiting > 0 {
			return
		}
		require.True(t, time.Now().Before(deadline), "no spare came")
		r := attempt(t, w, p, attack{"idle", "none"}, nil)
		require.Equal(t, jobs.OK, r.Outcome, r.raw)
		time.Sleep(10 * time.Millisecond)
	}
}

// wall is how long an attack may take: those that never end by themselves get little.
func wall(a attack) time.Duration {
	if slices.Contains(endless, a.name) {
		return 300 * time.Millisecond
	}
	return limits.Wall
}

func TestAttacks(t *testing.T) {
	machine.Root(t)
	t.Parallel() // with the run of the other tier
	all := corpus()
	require.Greater(t, len(all), 200)
	for name := range wants {
		require.True(t, slices.ContainsFunc(all, func(a attack) bool { return a.name == name }), "no program %s", name)
	}
	w := newWorld(t)
	onDemand := newPool(t, w, hostConfig(), -1)
	spares := newPool(t, w, hostConfig(), 2)
	w.settle(t)
	for _, a := range all {
		t.Run(a.section+"/"+a.name, func(t *testing.T) {
			for _, mode := range []struct {
				name string
				p    *pool.Pool
			}{{"on demand", onDemand}, {"on a spare", spares}} {
				judge(t, w, a, mode.name, attemptOn(t, w, mode.p, a, mode.p == spares))
				w.unharmed(t)
				next := attempt(t, w, mode.p, attack{"idle", "none"}, nil)
				require.Equal(t, jobs.OK, next.Outcome, "the next call: %s", next.raw)
			}
			w.quiet(t, onDemand)
		})
	}
}

func judge(t testing.TB, w *world, a attack, mode string, r result) {
	t.Helper()
	want, ok := wants[a.name]
	if !ok {
		want = refused
	}
	require.NotContains(t, r.raw, canary, "%s %s: a secret came out", a.name, mode)
	require.NotContains(t, r.raw, w.courses, "%s %s: a path of the host came out", a.name, mode)
	require.True(t, want(r), "%s %s: %s", a.name, mode, r.raw[:min(len(r.raw), 3000)])
}

// Calls that follow one another share nothing.
func TestNothingIsLeftForTheNextCall(t *testing.T) {
	machine.Root(t)
	w := newWorld(t)
	for _, spares := range []int{-1, 2} {
		p := newPool(t, w, hostConfig(), spares)
		for _, a := range []attack{
			{"files", "leave_files_behind"},
			{"interpreter", "poison_builtins"},
			{"interpreter", "poison_modules"},
			{"interpreter", "poison_home"},
			{"interpreter", "import_hook"},
		} {
			for range 3 {
				r := attempt(t, w, p, a, nil)
				require.Equal(t, "done", r.got[0], r.raw)
				require.Contains(t, []string{"[]", "false"}, mustJSON(t, r.got[1]), "%s saw an earlier call", a.name)
			}
		}
		// A secret of one call is in no page of a later one.
		needle := strings.Join([]string{"prairie", "needle", "in", "memory"}, "-")
		for range 3 {
			r := attempt(t, w, p, attack{"interpreter", "keep_a_secret"}, map[string]any{"needle": strings.Replace(needle, "needle-in", "needle-"+"in", 1)})
			require.Equal(t, []any{"done", "kept " + needle}, r.got)
		}
		r := attempt(t, w, p, attack{"interpreter", "search_memory"}, nil)
		require.Equal(t, "done", r.got[0], r.raw)
		found := int(r.got[1].(float64))
		require.LessOrEqual(t, found, 3, "only what the search itself holds")
		p.Close()
	}
}

func mustJSON(t testing.TB, v any) string {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}
