// Package debian makes root filesystems of Debian packages for tests, once a
// machine: they lie in the user's cache until somebody removes them.
package debian

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"github.com/prairielambda/prairielambda/test/machine"
)

// Root is a tar of a suite's essential packages and those named, configured as
// an installation leaves them. A machine without mmdebstrap or without a mirror
// skips the test; with REQUIRE_ALL=1 it fails.
func Root(t testing.TB, suite string, packages ...string) string {
	t.Helper()
	file, err := Make(t.Context(), suite, packages...)
	if err == nil {
		return file
	}
	machine.Skip(t, "no Debian root: %v", err)
	return ""
}

// Make is Root for programs that are no test.
func Make(ctx context.Context, suite string, packages ...string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "prairielambda", "debian-roots")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	sum := blake3.Sum256([]byte(suite + " " + strings.Join(packages, " ")))
	file := filepath.Join(dir, fmt.Sprintf("%s-%x.tar", suite, sum[:6]))
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	tmp := fmt.Sprintf("%s.%d.tar", file, os.Getpid())
	defer os.Remove(tmp)
	args := []string{"--quiet", "--variant=essential"}
	if len(packages) > 0 {
		args = append(args, "--include="+strings.Join(packages, ","))
	}
	// The parent of the root must be open to everybody: apt's own user enters it.
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, suite, tmp)...)
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mmdebstrap %s: %w: %s", suite, err, out[max(0, len(out)-400):])
	}
	return file, os.Rename(tmp, file)
}
