// Package chunkfs runs the mount's command line as people and scripts do: the
// real binaries, a real mount, a store in a directory.
package chunkfs

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/prairielambda/prairielambda/test/e2e/stack"
	"github.com/prairielambda/prairielambda/test/machine"
)

func needFUSE(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err == nil && os.Geteuid() == 0 {
		return
	}
	machine.Skip(t, "no root or no /dev/fuse here")
}

// binaries builds the commands into a directory that everybody may enter.
func binaries(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // for the user without root
		t.Fatal(err)
	}
	bin, err := stack.Build(dir, "chunkfs", "syncer")
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func TestScripts(t *testing.T) {
	needFUSE(t)
	bin := binaries(t)
	testscript.Run(t, testscript.Params{
		Dir:                 ".",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			e.Setenv("ADDR", ln.Addr().String())
			e.Setenv("PATH", bin+string(filepath.ListSeparator)+e.Getenv("PATH"))
			e.Setenv("PRAIRIE_STORE", "dir://"+filepath.Join(e.WorkDir, "store"))
			e.Setenv("PRAIRIE_CACHE", filepath.Join(e.WorkDir, "cache"))
			mnt := filepath.Join(e.WorkDir, "mnt")
			e.Setenv("MNT", mnt)
			e.Defer(func() { _ = exec.Command("umount", "-l", mnt).Run() }) // of a script that failed
			return errors.Join(ln.Close(), os.Mkdir(mnt, 0o755))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": exitCode},
	})
}

// exitCode runs the rest of the line and wants exactly this code: `code 75 chunkfs ...`.
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		got = ee.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}
