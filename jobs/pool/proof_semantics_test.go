package pool

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

func TestSemanticsInASandbox(t *testing.T) {
	files := map[string]string{}
	all := rows
	for method, keys := range keysOf {
		arguments := "data"
		if method == "render" {
			arguments = "data, html"
		}
		all = append(all, row{
			name: "keys-of-" + method, ask: phase(method), data: answered(`,"filename":"f","test_type":"correct"`), html: "",
			server: fmt.Sprintf("def %s(%s): raise ValueError(' '.join(sorted(data)))\n", method, arguments), fault: "ValueError: " + keys,
		})
	}
	for _, r := range all {
		q := "questions/" + r.name + "/"
		files[q+"info.json"], files[q+"question.html"] = "{}", r.html
		if r.server != "" {
			files[q+"server.py"] = r.server
		}
		for name, content := range r.files {
			if p, ok := strings.CutPrefix(name, "/"); ok {
				files[p] = content
			} else {
				files[q+name] = content
			}
		}
	}
	for name, content := range files { // the machine's own library and program, vendored
		switch content {
		case "<libm>":
			libs, err := filepath.Glob("/lib/*/libm.so.6")
			require.NoError(t, err)
			require.NotEmpty(t, libs)
			files[name] = read(t, libs[0])
		case "<true>":
			files[name] = read(t, "/bin/true")
		}
	}
	dir := tree(t, files)
	require.NoError(t, os.Chmod(filepath.Join(dir, "c", ver, "serverFilesCourse/tool"), 0o755))
	for _, spares := range []int{-1, 3} {
		p := newPool(t, dir, func(c *Config) { whole(c); c.Spares, c.Default.Processes = spares, 0 })
		for _, r := range all {
			t.Run(fmt.Sprintf("%s/%s", map[bool]string{true: "on demand", false: "on spares"}[spares < 0], r.name), func(t *testing.T) { r.check(t, p) })
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

func (r row) check(t *testing.T, p *Pool) {
	inv := r.ask
	inv.Question, inv.Data = r.name, json.RawMessage(r.data)
	if r.data == "" {
		inv.Data = json.RawMessage(seeded)
	}
	res := do(t, p, inv)
	c := res.Calls[len(res.Calls)-1]
	switch {
	case r.fault != "":
		require.Equal(t, jobs.QuestionError, c.Outcome, "%+v", c)
		require.Contains(t, c.Message, r.fault)
		require.JSONEq(t, string(inv.Data), string(res.Data), "the original data is kept")
		return
	case r.code != "":
		require.Equal(t, jobs.Missing, c.Outcome, "%+v", c)
		require.Equal(t, r.code, c.Code)
		return
	}
	require.Equal(t, jobs.OK, c.Outcome, "%+v", c)
	if r.output != "" {
		require.Equal(t, r.output, c.Output)
	}
	switch inv.Calls[len(inv.Calls)-1].Method {
	case "render":
		require.NotNil(t, c.HTML)
		require.Equal(t, r.page, *c.HTML)
	case "file":
		require.Equal(t, r.file, string(c.File))
	default:
		var d struct{ Params json.RawMessage }
		require.NoError(t, json.Unmarshal(res.Data, &d))
		require.JSONEq(t, r.params, string(d.Params))
	}
}

// Two sessions of one seed agree to the last draw; a session without one agrees
// with nobody; and calls in one session differ from the same calls apart.
func TestSessionsAndSplitBatches(t *testing.T) {
	p := newPool(t, tree(t, map[string]string{
		"questions/q/info.json": "{}",
		"questions/q/server.py": "import random\ndef generate(data): data['params'].setdefault('x', []).append(random.random())\n",
	}), nil)
	draw := func(seed string, calls int) string {
		inv := jobs.Invocation{Question: "q", Data: json.RawMessage(`{"params":{}` + seed + `}`)}
		for range calls {
			inv.Calls = append(inv.Calls, jobs.Call{Type: jobs.Question, Method: "generate"})
		}
		return string(do(t, p, inv).Data)
	}
	seed := fmt.Sprintf(`,"variant_seed":%d`, rand.Uint32())
	require.Equal(t, draw(seed, 3), draw(seed, 3))
	require.NotEqual(t, draw("", 3), draw("", 3))
	var apart struct{ Params struct{ X []float64 } }
	require.NoError(t, json.Unmarshal([]byte(draw(seed, 1)), &apart))
	var together struct{ Params struct{ X []float64 } }
	require.NoError(t, json.Unmarshal([]byte(draw(seed, 2)), &together))
	require.Equal(t, apart.Params.X[0], together.Params.X[0])
	require.NotEqual(t, together.Params.X[0], together.Params.X[1])
}

// Upstream's executor lines, in one session: a phase over question.html, an
// element's function, a module that may not be imported.
func TestExecutorLines(t *testing.T) {
	p := newPool(t, tree(t, map[string]string{
		"questions/q/info.json": "{}", "questions/q/question.html": "<x-a></x-a>",
		"questions/q/server.py":   "n = 0\ndef generate(data):\n    global n\n    n += 1\n    data['params']['n'] = n\ndef prepare(data): import fractions\n",
		"elements/x-a/info.json":  `{"controller":"x.py"}`,
		"elements/x-a/x.py":       "def render(element_html, data): return '<b>%d</b>' % data['params']['n']\n",
		"serverFilesCourse/dummy": "",
	}), nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := p.OpenSession(ctx, &jobs.Invocation{Course: "c", Version: Current, Question: "q"})
	require.NoError(t, err)
	defer s.Close()
	line := func(file, fcn string, args ...any) map[string]any {
		t.Helper()
		b, err := json.Marshal(map[string]any{"type": "question", "directory": "q", "file": file, "fcn": fcn, "args": args, "forbidden_modules": []string{"fractions"}})
		require.NoError(t, err)
		answer, _, err := s.Line(ctx, b)
		require.NoError(t, err)
		var a map[string]any
		require.NoError(t, json.Unmarshal(answer, &a))
		return a
	}
	data := map[string]any{
		"params": map[string]any{}, "correct_answers": map[string]any{}, "variant_seed": 7, "options": map[string]any{}, "preferences": map[string]any{},
	}
	for n := range 2 {
		a := line("server.py", "generate", data)
		require.Empty(t, a["error"], "%v", a)
		got := a["data"].(map[string]any)
		require.EqualValues(t, n+1, got["params"].(map[string]any)["n"])
	}
	require.Equal(t, true, line("server.py", "grade", data)["functionMissing"])
	require.Contains(t, fmt.Sprint(line("server.py", "prepare", data)["error"]), "fractions")
	full := maps.Clone(data)
	full["params"] = map[string]any{"n": 5}
	for k, v := range map[string]any{
		"submitted_answers": map[string]any{}, "raw_submitted_answers": map[string]any{}, "format_errors": map[string]any{}, "partial_scores": map[string]any{},
		"score": 0, "feedback": map[string]any{}, "editable": true, "manual_grading": false, "ai_grading": false, "correct_answer_shown": false,
		"panel": "question", "num_valid_submissions": 0,
	} {
		full[k] = v
	}
	a := line("question.html", "render", map[string]any{
		"html": "<p><x-a></x-a></p>", "elements": map[string]any{"x-a": map[string]any{"name": "x-a", "controller": "x.py", "type": "course"}},
		"element_extensions": map[string]any{}, "course_path": path.Join("/course"),
	}, full)
	require.Empty(t, a["error"], "%v", a)
	value := a["data"].(map[string]any)
	require.Equal(t, "<p><b>5</b></p>", value["html"])
	require.Equal(t, []any{"x-a"}, value["processed_elements"])
}
