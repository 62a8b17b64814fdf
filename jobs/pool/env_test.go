package pool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

func TestWhatALambdaSaysOfItsEnvironment(t *testing.T) {
	for file, want := range map[string]struct {
		root, variables, fault string
		python                 bool
	}{
		`{"environment":"py"}`:                                      {root: "py", python: true},
		`{"environment":"py@x","runtime":"python@3.13"}`:            {root: "py@x", python: true},
		`{"environment":"n","command":["s"],"variables":{"A":"1"}}`: {root: "n", variables: "A=1"},
		`{"environment":{"A":"1"},"command":["s"]}`:                 {variables: "A=1"},
		`{"environment":"n","runtime":"node"}`:                      {root: "n", fault: "command"},
		`{"environment":{"A":"1"}}`:                                 {variables: "A=1", fault: "command"},
		`{"environment":7}`:                                         {fault: "cannot unmarshal"},
		`{"environment":null}`:                                      {fault: "command"},
	} {
		l := parseLambda([]byte(file))
		require.Equal(t, want.root, l.Environment.root, file)
		require.Equal(t, want.variables, strings.Join(l.environ(), " "), file)
		require.Equal(t, want.python, l.python(), file)
		require.Contains(t, l.fault, want.fault, file)
		if want.fault == "" {
			require.Empty(t, l.fault, file)
		}
	}
}

func TestWhichEnvironmentIsMeant(t *testing.T) {
	dir, v := t.TempDir(), &version{course: "c", name: strings.Repeat("a", 40)}
	digest := strings.Repeat("b", 64)
	lib := filepath.Join(dir, ".env", "lib")
	require.NoError(t, os.MkdirAll(filepath.Join(lib, digest, "usr", "bin"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(lib, digest+".json"), []byte(`{"env":["A=1"]}`), 0o644))
	require.NoError(t, os.Symlink(digest, filepath.Join(lib, "@c@"+v.name)))
	require.NoError(t, os.Symlink("/etc/alternatives/python3", filepath.Join(lib, digest, "usr", "bin", "python3")))
	c, err := OpenCourses(dir)
	require.NoError(t, err)
	defer c.Close()
	for _, ask := range []string{"lib", "lib@" + digest} {
		e, err := c.environment(v, ask)
		require.NoError(t, err, ask)
		require.Equal(t, "lib@"+digest, e.key())
		require.Equal(t, []string{"A=1"}, e.settings.Env)
		require.False(t, e.has("/usr/bin/python3"), "the machine's own is not the environment's")
	}
	for _, ask := range []string{"", "../x", "lib@", "lib@zz", "lib/x", "none", "none@" + digest, "lib@" + strings.Repeat("c", 64)} {
		_, err := c.environment(v, ask)
		var e *jobs.Error
		require.True(t, errors.As(err, &e), "%q: %v", ask, err)
		require.Equal(t, jobs.QuestionError, e.Outcome)
	}
	other := &version{course: "c", name: strings.Repeat("d", 40)}
	_, err = c.environment(other, "lib")
	require.ErrorContains(t, err, "when this version of the course was pushed")
}
