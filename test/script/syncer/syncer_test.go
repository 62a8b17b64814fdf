// Package syncer runs the syncer's command line as people and scripts do: the
// real binary, real git, a store in a directory.
package syncer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

// programs is where those are that the tests share.
var programs string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "script-syncer-")
	if err == nil {
		programs, err = stack.Build(dir, "syncer", "chunkfs")
	}
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 ".",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", programs+string(filepath.ListSeparator)+e.Getenv("PATH"))
			e.Setenv("PRAIRIE_STORE", "dir://"+filepath.Join(e.WorkDir, "store"))
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, ".cache"))
			for _, who := range []string{"AUTHOR", "COMMITTER"} {
				e.Setenv("GIT_"+who+"_NAME", "N")
				e.Setenv("GIT_"+who+"_EMAIL", "n@x")
				e.Setenv("GIT_"+who+"_DATE", "2026-01-01T00:00:00Z")
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": exitCode,
			"long": longName,
		},
	})
}

// exitCode runs the rest of the line and wants exactly this code: `code 4 syncer ...`.
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = "?"
		if ee, ok := err.(*exec.ExitError); ok {
			got = itoa(ee.ExitCode())
		}
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

func itoa(n int) string {
	if n >= 10 {
		return itoa(n/10) + string(rune('0'+n%10))
	}
	return string(rune('0' + n))
}

// longName commits a file with a name of 300 bytes, which no filesystem holds,
// and one with a newline: `long REPO NAME`.
func longName(ts *testscript.TestScript, _ bool, args []string) {
	name := "a\nb"
	if args[1] == "300" {
		b := make([]byte, 300)
		for i := range b {
			b[i] = 'n'
		}
		name = string(b)
	}
	script := `cd "$0"; blob=$(echo x | git hash-object -w --stdin)
tree=$(printf '100644 blob %s\t%s\0' $blob "$1" | git mktree -z)
git update-ref refs/heads/bad $(git commit-tree -m bad $tree)`
	ts.Check(ts.Exec("sh", "-c", script, ts.MkAbs(args[0]), name))
}
