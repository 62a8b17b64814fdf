package pool

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

// A version's shared code is compiled once; calls after that do not read its
// source, and what does not compile is left to the calls that need it.
func TestAVersionIsCompiledOnce(t *testing.T) {
	dir := tree(t, map[string]string{
		"questions/q/info.json": "{}", "questions/q/server.py": usesHelper,
		"questions/bad/info.json": "{}", "questions/bad/server.py": "import broken\ndef generate(data): pass",
		"serverFilesCourse/helper.py": "X = 'compiled'", "serverFilesCourse/broken.py": "def (",
		"serverFilesCourse/runs.py": "raise SystemExit('executed while compiling')",
	})
	p := newPool(t, dir, nil)
	require.Equal(t, jobs.OK, do(t, p, question("q", "generate")).Calls[0].Outcome)
	v, err := p.cfg.Courses.hold("c", ver)
	require.NoError(t, err)
	defer p.cfg.Courses.release(v)
	require.Eventually(t, func() bool { return v.bytecode() != nil }, 30*time.Second, 5*time.Millisecond)

	// A version never changes; that this one does shows what a call reads.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "c", ver, "serverFilesCourse/helper.py"), []byte("X = 'source'"), 0o644))
	for _, limits := range []jobs.Limits{{}, {Memory: 300 << 20}} { // a spare may be older; a fork is not
		inv := question("q", "generate")
		inv.Limits = limits
		r := do(t, p, inv)
		require.Equal(t, jobs.OK, r.Calls[0].Outcome, "%+v", r.Calls[0])
		if limits.Memory > 0 {
			var data struct {
				Params struct {
					X string `json:"x"`
				} `json:"params"`
			}
			require.NoError(t, json.Unmarshal(r.Data, &data))
			require.Equal(t, "compiled", data.Params.X)
		}
	}
	r := do(t, p, question("bad", "generate"))
	require.Equal(t, jobs.QuestionError, r.Calls[0].Outcome)
	require.Contains(t, r.Calls[0].Message+r.Calls[0].Traceback, "SyntaxError")
}
