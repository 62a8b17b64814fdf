package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/syncer/env/imagetest"
	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/e2e/debian"
	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

// whereami is a question that tells what it runs in.
const whereami = `import os, sys, numpy
def generate(data):
    data["params"]["python"] = "%d.%d" % sys.version_info[:2]
    data["params"]["numpy"] = numpy.__version__
    try:
        import prairielib
        data["params"]["lib"] = prairielib.VERSION
    except ImportError:
        data["params"]["lib"] = "none"
    data["params"]["os"] = open("/etc/os-release").read().count("trixie") if os.path.exists("/etc/os-release") else -1
    data["params"]["home"] = os.path.isdir("/home") and os.listdir("/home")
    try:
        open("/usr/lib/x", "w")
        data["params"]["wrote"] = True
    except OSError as e:
        data["params"]["wrote"] = e.strerror
`

// inEnvironment makes the repository's course run in an environment, and adds whereami.
func inEnvironment(t *testing.T, dir, lambda string) {
	t.Helper()
	q := filepath.Join(dir, "questions", "whereami")
	require.NoError(t, os.MkdirAll(q, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(q, "server.py"), []byte(whereami), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(q, "info.json"), []byte(`{"uuid":"11111111-1111-1111-1111-111111111111","title":"w","topic":"t","type":"v3"}`), 0o644))
	if lambda != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "lambda.json"), []byte(lambda), 0o644))
	}
	commit(t, dir)
}

func generate(t *testing.T, s *stack.Stack, course, qid string, n int) (params object, raw *stack.Answer) {
	t.Helper()
	a := post(t, s, "/courses/"+course+"/current/question/"+qid, object{"method": "generate", "data": seed(n)})
	if a.Status != 200 {
		return nil, a
	}
	return decode(t, a)["params"].(object), a
}

func TestQuestionsRunInThePythonOfAnEnvironment(t *testing.T) {
	s := newStack(t)
	base, err := os.ReadFile(debian.Root(t, "trixie", pythonPackages...))
	require.NoError(t, err)
	library := func(version int) string {
		l := imagetest.NewLayer().File("usr/lib/python3/dist-packages/prairielib.py", fmt.Sprintf("VERSION = %d\n", version), 0o644)
		img := &imagetest.Image{Layers: [][]byte{base, l.Tar()}, Env: []string{"PATH=/usr/bin:/bin"}}
		return img.Docker(filepath.Join(t.TempDir(), "image.tar"))
	}
	first := pushEnv(t, s, "lib", library(1))
	host, one, two := course.Sample(t), course.Sample(t), course.Sample(t)
	inEnvironment(t, host.Dir, "")
	inEnvironment(t, one.Dir, `{"environment":"lib"}`)
	push := func(name, dir string) string {
		version, err := s.Push(name, dir)
		require.NoError(t, err)
		return version
	}
	push("host", host.Dir)
	pinned := push("one", one.Dir)
	second := pushEnv(t, s, "lib", library(2))
	require.NotEqual(t, first, second)
	inEnvironment(t, two.Dir, `{"runtime":"python","environment":"lib@`+second+`"}`)
	push("two", two.Dir)
	late := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(late, "infoCourse.json"), []byte("{}"), 0o644))
	inEnvironment(t, late, `{"environment":"nowhere"}`)
	push("late", late)
	require.NoError(t, s.Start(t.Context()))

	to, err := os.Readlink(filepath.Join(s.Mount, ".env", "lib", "@one@"+pinned))
	require.NoError(t, err)
	require.Equal(t, first, to)

	p, a := generate(t, s, "host", "whereami", 1)
	require.NotNil(t, p, "%s", a.Body)
	require.Equal(t, "none", p["lib"])
	here := p["python"]

	var wg sync.WaitGroup
	for i := range 12 { // both at once, again and again: on demand, then on spares
		wg.Go(func() {
			name, lib := "one", 1
			if i%2 == 1 {
				name, lib = "two", 2
			}
			p, a := generate(t, s, name, "whereami", i)
			if !assertParams(t, p, a) {
				return
			}
			if p["lib"] != float64(lib) || p["python"] == here || p["os"] == float64(0) || !strings.Contains(fmt.Sprint(p["wrote"]), "Read-only") {
				t.Errorf("%s ran in %v", name, p)
			}
		})
	}
	wg.Wait()

	// The whole sample course, unmodified, gives what it gives on the host.
	for _, qid := range []string{"calculus/derivatives/cubic", "linear-algebra/inverse", "words/caesar", "physics/incline", "statistics/mean-and-median"} {
		for n := range 2 {
			want, a := generate(t, s, "host", qid, n)
			require.NotNil(t, want, "%s: %s", qid, a.Body)
			got, a := generate(t, s, "one", qid, n)
			require.NotNil(t, got, "%s: %s", qid, a.Body)
			require.Equal(t, want, got, qid)
		}
	}

	_, a = generate(t, s, "late", "whereami", 1)
	require.Equal(t, 422, a.Status)
	require.Contains(t, string(a.Body), `there was no environment \"nowhere\"`)
}

func assertParams(t *testing.T, p object, a *stack.Answer) bool {
	if p == nil {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	return p != nil
}
