package pool

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

// What a call can see of itself is the same on demand, on a spare of its version
// and on one of its hot question.
func TestHotSparesAnswerAsColdCallsDo(t *testing.T) {
	dir := tree(t, map[string]string{
		"questions/q/info.json": "{}", "questions/other/info.json": "{}",
		"elements/e/info.json": "{}", "serverFilesCourse/helper.py": "import random\nDRAWN = random.random()\nCALLS = []",
		"questions/q/server.py": `
import os, random, sys
import numpy, sympy
TOP = random.random()
import helper
def generate(data):
    helper.CALLS.append(1)
    data["params"] = {
        "top": TOP, "helper": helper.DRAWN, "calls": len(helper.CALLS), "next": random.random(),
        "numpy": int(numpy.random.randint(1 << 30)), "state": str(random.getstate()[1][:5]),
        "cwd": os.getcwd(), "file": __file__, "path": sys.path, "questions": os.listdir("/course/questions"),
        "course": sorted(os.listdir("/course")), "tmp": os.listdir("/tmp"), "fds": sorted(os.listdir("/proc/self/fd"))[:4],
        "modules": sorted(m for m in sys.modules if m.partition(".")[0] in ("prairie", "seal", "exercise", "slate", "helper", "__main__")),
        "sum": str(sympy.expand((sympy.Symbol("x") + 2) ** 2)), "policy": os.sched_getscheduler(0),
        "name": globals().get("__name__"), "hooks": len(sys.meta_path), "env": sorted(os.environ),
    }
`,
	})
	inv := question("q", "generate")
	cold := string(do(t, newPool(t, dir, func(c *Config) { whole(c); c.Spares = -1 }), inv).Data)
	require.Contains(t, cold, `"calls":1`)
	p := newPool(t, dir, whole)
	for i := range 400 {
		r := do(t, p, inv)
		require.Equal(t, jobs.OK, r.Calls[0].Outcome, "%+v", r.Calls[0])
		require.Equal(t, cold, string(r.Data), "call %d", i)
		if p.hot.Load() >= 5 {
			break
		}
		time.Sleep(30 * time.Millisecond)
	}
	require.Positive(t, p.hot.Load())
	// Whatever a call names beside the question, its sandbox has it: no spare of
	// another sight is taken.
	two := question("q", "generate")
	two.Calls = append(two.Calls, jobs.Call{Type: jobs.Question, Name: "other", Method: "generate"})
	r := do(t, p, two)
	require.Equal(t, jobs.OK, r.Calls[0].Outcome)
	require.Equal(t, jobs.MethodMissing, r.Calls[1].Code, "%+v", r.Calls[1])
	require.Contains(t, string(r.Calls[0].Data), fmt.Sprintf("%q", "other"))
}

// A spare that died while its call waited for a place to run is no answer to it.
func TestAHotSpareThatDiesBeforeItsCall(t *testing.T) {
	p := newPool(t, tree(t, map[string]string{"questions/q/info.json": "{}", "questions/q/server.py": "def generate(data): pass"}), nil)
	inv := question("q", "generate")
	inv.Course, inv.Version, inv.Data = "c", Current, []byte(`{"params":{}}`)
	var o *opened
	require.Eventually(t, func() bool {
		_ = do(t, p, inv)
		var err error
		o, err = p.open(t.Context(), &inv, true)
		require.NoError(t, err)
		if o.hot == nil {
			o.close()
		}
		return o.hot != nil
	}, 30*time.Second, 30*time.Millisecond)
	defer o.close()
	box := o.hot.box
	box.Kill()
	require.Eventually(t, func() bool { return !box.Alive() }, 30*time.Second, time.Millisecond)
	res := &jobs.Result{Data: inv.Data}
	require.NoError(t, p.session(t.Context(), o, &inv, o.groups[0], res))
	require.Equal(t, []jobs.Outcome{jobs.OK}, outcomes(res), "%+v", res.Calls)
}

// A spare that cannot be made leaves those of its version that wait as they are.
func TestASpareThatCannotBeMade(t *testing.T) {
	p := newPool(t, tree(t, map[string]string{"questions/q/info.json": "{}", "questions/q/server.py": "def generate(data): pass"}), func(c *Config) {
		c.Spares, c.SparesEach = 2, 2
	})
	two := func() bool { _, _, n := p.Claims(); return n == 2 }
	require.Equal(t, jobs.OK, do(t, p, question("q", "generate")).Calls[0].Outcome)
	require.Eventually(t, two, 30*time.Second, 5*time.Millisecond)
	p.tender.made <- madeSpare{key: "c/" + ver, err: errors.New("on purpose")}
	before, _, _ := p.Claims()
	require.Equal(t, jobs.OK, do(t, p, question("q", "generate")).Calls[0].Outcome)
	after, _, _ := p.Claims()
	require.Equal(t, before+1, after, "they answer")
	require.Eventually(t, two, 30*time.Second, 5*time.Millisecond, "and are made again")
}
