// Package e2e tries the whole path on real programs: git repository, store,
// FUSE mount, sandbox, gateway.
package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/e2e/stack"
	"github.com/prairielambda/prairielambda/test/machine"
)

var bin string

func TestMain(m *testing.M) {
	machine.OwnMounts()
	dir, err := os.MkdirTemp("", "prairie-e2e-")
	if err == nil {
		bin, err = stack.Build(dir, "syncer", "chunkfs", "worker", "scheduler")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := standing.close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

func post(t *testing.T, s *stack.Stack, path string, body any) *stack.Answer {
	t.Helper()
	a, err := s.Post(path, body)
	require.NoError(t, err)
	return a
}

type object = map[string]any

func decode(t *testing.T, a *stack.Answer) object {
	t.Helper()
	var v object
	require.NoError(t, json.Unmarshal(a.Body, &v), "%d %s", a.Status, a.Body)
	return v
}

const cubic = "/courses/sample/current/question/calculus/derivatives/cubic"

func seed(n int) object {
	return object{"params": object{}, "correct_answers": object{}, "variant_seed": n}
}

func TestFromARepositoryToAGradedAnswer(t *testing.T) {
	s, version := start(t)
	generate := func(n int) object {
		a := post(t, s, cubic, object{"method": "generate", "data": seed(n)})
		require.Equal(t, 200, a.Status, "%s", a.Body)
		require.Equal(t, version, a.Header.Get("Prairie-Version"))
		require.NotEmpty(t, a.Header.Get("Prairie-Id"))
		return decode(t, a)
	}
	first := generate(42)
	require.Equal(t, first, generate(42), "the same seed gives the same variant")
	require.NotEqual(t, first["params"], generate(43)["params"], "another seed another")

	a := post(t, s, cubic, object{"method": "render", "data": first, "html": "<p>page</p>"})
	require.Equal(t, 200, a.Status, "%s", a.Body)
	require.Contains(t, a.Header.Get("Content-Type"), "text/html")
	require.Contains(t, string(a.Body), "<")

	answers := first["correct_answers"].(object)
	submit := func(derivative, slope any) object {
		d := object{}
		for k, v := range first {
			d[k] = v
		}
		raw := object{"derivative": fmt.Sprint(derivative), "slope": fmt.Sprint(slope)}
		d["raw_submitted_answers"], d["submitted_answers"], d["format_errors"] = raw, object{"derivative": raw["derivative"], "slope": raw["slope"]}, object{}
		d["partial_scores"], d["feedback"], d["score"] = object{}, object{}, 0
		a := post(t, s, cubic, object{"method": "parse", "data": d})
		require.Equal(t, 200, a.Status, "%s", a.Body)
		return decode(t, a)
	}
	grade := func(d object) object {
		a := post(t, s, cubic, object{"method": "grade", "data": d})
		require.Equal(t, 200, a.Status, "%s", a.Body)
		return decode(t, a)
	}
	right := grade(submit(answers["derivative"], answers["slope"]))
	require.EqualValues(t, 1, right["score"])
	wrong := grade(submit("x", 0.5))
	require.Less(t, wrong["score"], 0.5)
	bad := submit("x +* 2", "many")
	require.NotEmpty(t, bad["format_errors"])
}

func TestTheRFCsOwnBodies(t *testing.T) {
	s, _ := start(t)
	a := post(t, s, "/courses/sample/current/element/my-element", []byte(`{
  "method": "render",
  "html": "<my-element attr=\"value\">hello, world!</my-element>",
  "data": {
    "params": {
      "number": 123
    }
  }
}`))
	require.Equal(t, 200, a.Status, "%s", a.Body)
	require.Contains(t, string(a.Body), "123")
	a = post(t, s, "/courses/sample/current/", []byte(`{
  "data": {
    "params": {
      "number": 123
    }
  },
  "question": "rfc/example",
  "requests": [
    {
      "type": "question",
      "method": "grade"
    },
    {
      "type": "element",
      "method": "grade",
      "html": "<my-element attr=\"value\">hello, world!</my-element>"
   }
  ]
}`))
	require.Equal(t, 200, a.Status, "%s", a.Body)
	got := decode(t, a)
	require.Len(t, got["responses"], 2)
	for _, r := range got["responses"].([]any) {
		require.EqualValues(t, 200, r.(object)["status"], "%s", a.Body)
	}
}

func TestACoursesOwnServer(t *testing.T) {
	s, _ := start(t)
	entries, err := os.ReadDir(s.Mount + "/node/current/questions")
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	q := "/courses/node/current/question/" + nodeQuestion
	a := post(t, s, q, object{"method": "generate", "data": seed(7)})
	require.Equal(t, 200, a.Status, "%s", a.Body)
	b := post(t, s, q, object{"method": "generate", "data": seed(7)})
	require.JSONEq(t, string(a.Body), string(b.Body))
	require.NotEqual(t, string(a.Body), string(post(t, s, q, object{"method": "generate", "data": seed(8)}).Body))
	a = post(t, s, "/courses/node/current/question/none", object{"method": "generate", "data": seed(7)})
	require.Equal(t, 404, a.Status)
	require.Equal(t, "question_missing", code(t, a))
	// Its server has no batch route: the items go one by one.
	a = post(t, s, "/courses/node/current/", object{"data": seed(7), "question": nodeQuestion, "requests": []object{
		{"type": "question", "method": "generate"}, {"type": "question", "method": "generate"},
	}})
	require.Equal(t, 200, a.Status, "%s", a.Body)
	require.Len(t, decode(t, a)["responses"], 2)
}

func code(t *testing.T, a *stack.Answer) string {
	t.Helper()
	e, ok := decode(t, a)["error"].(object)
	require.True(t, ok, "%s", a.Body)
	return e["code"].(string)
}

func TestWhatIsNotThereIs404AndSaysSo(t *testing.T) {
	s, _ := start(t)
	for _, tc := range []struct{ path, method, code string }{
		{"/courses/none/current/question/calculus/derivatives/cubic", "generate", "course_missing"},
		{"/courses/sample/" + strings.Repeat("0", 40) + "/question/calculus/derivatives/cubic", "generate", "version_missing"},
		{"/courses/sample/v1/question/calculus/derivatives/cubic", "generate", "version_missing"},
		{"/courses/sample/current/question/calculus/derivatives", "generate", "question_missing"},
		{"/courses/sample/current/question/none", "generate", "question_missing"},
		{"/courses/sample/current/element/none", "render", "element_missing"},
		{cubic, "nope", "method_missing"},
		{"/courses/sample/current/question/words/planets", "generate", "method_missing"}, // no server.py
	} {
		body := object{"method": tc.method, "data": seed(1), "html": "<none></none>"}
		a := post(t, s, tc.path, body)
		require.Equal(t, http.StatusNotFound, a.Status, "%s: %s", tc.path, a.Body)
		require.Equal(t, tc.code, code(t, a), "%s", tc.path)
	}
}

func TestAPushWhileCallsRun(t *testing.T) {
	s, repo := withCourse(t, "pushed")
	const file = "questions/calculus/derivatives/cubic/server.py"
	old := repo.Rev
	var calls, failed atomic.Int64
	seen := sync.Map{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		version := "current"
		if i%2 == 0 {
			version = old
		}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a, err := s.Post("/courses/pushed/"+version+"/question/calculus/derivatives/cubic", object{"method": "generate", "data": seed(42)})
				calls.Add(1)
				if err != nil || a.Status != 200 {
					failed.Add(1)
					t.Errorf("a call failed: %v %+v", err, a)
					return
				}
				v := a.Header.Get("Prairie-Version")
				if version == old && v != old {
					t.Errorf("pinned to %s, got %s", old, v)
				}
				was, loaded := seen.LoadOrStore(v, string(a.Body))
				if loaded && was != string(a.Body) {
					t.Errorf("version %s answered in two ways", v)
				}
			}
		})
	}
	current := func() string {
		return post(t, s, "/courses/pushed/current/question/"+course.Cubic, object{"method": "generate", "data": seed(42)}).Header.Get("Prairie-Version")
	}
	last := old
	for i := range 3 {
		rev, err := repo.Edit(file, func(b []byte) []byte {
			return append(b, fmt.Sprintf("\n_generate_%d = generate\n\ndef generate(data):\n    _generate_%d(data)\n    data[\"params\"][\"push\"] = %d\n", i, i, i)...)
		})
		require.NoError(t, err)
		pushed, err := s.Push("pushed", repo.Dir)
		require.NoError(t, err)
		require.Equal(t, rev, pushed)
		require.Eventually(t, func() bool { return current() == rev }, 30*time.Second, 50*time.Millisecond, "current follows a push")
		last = rev
	}
	close(stop)
	wg.Wait()
	require.Zero(t, failed.Load())
	require.Greater(t, calls.Load(), int64(8))
	a := post(t, s, "/courses/pushed/"+old+"/question/calculus/derivatives/cubic", object{"method": "generate", "data": seed(42)})
	require.NotContains(t, string(a.Body), `"push"`, "the old version still has the old bytes")
	a = post(t, s, "/courses/pushed/"+last+"/question/calculus/derivatives/cubic", object{"method": "generate", "data": seed(42)})
	require.Contains(t, string(a.Body), `"push":2`)
}
