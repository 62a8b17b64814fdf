// Package prairielambda runs the authors' commands as their README shows them.
package prairielambda

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/e2e/stack"
	"github.com/prairielambda/prairielambda/test/machine"
)

func TestScripts(t *testing.T) {
	if exec.Command("/usr/bin/python3", "-c", "import numpy, sympy, lxml").Run() != nil {
		machine.Skip(t, "this machine lacks a /usr/bin/python3 with numpy, sympy and lxml")
	}
	bin, err := stack.Build(t.TempDir(), "prairielambda")
	require.NoError(t, err)
	testscript.Run(t, testscript.Params{
		Dir:                 ".",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(filepath.ListSeparator)+e.Getenv("PATH"))
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, ".cache"))
			if err := os.WriteFile(filepath.Join(e.WorkDir, "readme.sh"), []byte(readme(t)), 0o644); err != nil {
				return err
			}
			return course.WriteSample(filepath.Join(e.WorkDir, "sample"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": exitCode},
	})
}

// readme is what the README tells an author to type, without the server, and
// without the block that stands in a course's own directory.
func readme(t *testing.T) string {
	b, err := os.ReadFile("../../../cmd/prairielambda/README.md")
	require.NoError(t, err)
	script := "set -e\n"
	blocks := strings.Split(string(b), "```sh\n")[1:]
	require.Len(t, blocks, 6)
	for _, block := range blocks {
		block, _, ok := strings.Cut(block, "\n```")
		require.True(t, ok)
		if strings.HasPrefix(block, "prairielambda test . ") {
			block = "(cd my-course && " + block + ")"
		}
		block = strings.TrimSuffix(block, "prairielambda dev my-course")
		script += block + "\n"
	}
	return script
}

// exitCode runs a program and checks its exit code: code N PROGRAM ARG...
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if ee := new(exec.ExitError); err != nil {
		var ok bool
		if ee, ok = err.(*exec.ExitError); !ok { //nolint:errorlint // testscript returns it as it is
			ts.Fatalf("%v", err)
		}
		got = ee.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s ended with %d, not %d", args[1], got, want)
	}
}
