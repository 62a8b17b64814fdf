package pool

import (
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
