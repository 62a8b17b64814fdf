package e2e

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

// standing is the one stack that most tests share: a store, a mount, a worker and
// a gateway take seconds to stand. A test that pushes does so to a course of its
// own (withCourse); one that breaks or sets up programs breaks its own (second,
// anotherGateway), which end with it.
var standing shared

type shared struct {
	once    sync.Once
	dir     string
	stack   *stack.Stack
	version string // of the course sample
	err     error
}

func (h *shared) start() {
	if h.dir, h.err = os.MkdirTemp("", "prairie-e2e-"); h.err != nil {
		return
	}
	if h.err = os.Chmod(h.dir, 0o755); h.err != nil {
		return
	}
	h.stack = stack.New(h.dir, bin)
	for name, write := range map[string]func(string) error{"sample": course.WriteSample, "node": course.WriteNode} {
		src := filepath.Join(h.dir, name)
		if h.err = write(src); h.err != nil {
			return
		}
		if _, h.err = course.GitInit(src, name); h.err != nil {
			return
		}
		var version string
		if version, h.err = h.stack.Push(name, src); h.err != nil {
			return
		}
		if name == "sample" {
			h.version = version
		}
	}
	h.err = h.stack.Start(context.Background(), "--runs", filepath.Join(h.dir, "runs"))
}

// close ends the stack, if there is one.
func (h *shared) close() error {
	if h.stack == nil {
		return nil
	}
	defer os.RemoveAll(h.dir)
	return h.stack.Close()
}

// start returns the standing stack and the version of its course sample.
func start(t *testing.T) (*stack.Stack, string) {
	t.Helper()
	standing.once.Do(standing.start)
	require.NoError(t, standing.err)
	t.Cleanup(func() { sayLogs(t, standing.stack, 2000) })
	return standing.stack, standing.version
}

// withCourse gives the standing stack one more course: the sample under a name of
// its own, for a test that pushes to it.
func withCourse(t *testing.T, name string) (*stack.Stack, *course.Repo) {
	t.Helper()
	s, _ := start(t)
	repo := course.Sample(t)
	version, err := s.Push(name, repo.Dir)
	require.NoError(t, err)
	require.Equal(t, repo.Rev, version)
	return s, repo
}

// sayLogs shows the ends of a stack's logs when the test failed.
func sayLogs(t *testing.T, s *stack.Stack, n int) {
	if !t.Failed() {
		return
	}
	for _, name := range []string{"worker", "scheduler"} {
		log, _ := os.ReadFile(s.Log(name))
		t.Logf("-- the end of %s's log\n%s", name, log[max(0, len(log)-n):])
	}
}
