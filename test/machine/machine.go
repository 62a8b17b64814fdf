// Package machine stands between a test and the machine that it shares with others:
// what the machine lacks, how long it may be kept busy, whose mounts are seen.
//
// It guarantees that nothing is skipped where REQUIRE_ALL=1 promises that all is
// there: then the same sentence is a failure.
package machine

import (
	"os"
	"testing"
)

// Skip ends a test that cannot run here, for the reason that it formats.
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("REQUIRE_ALL") == "1" {
		t.Fatalf("REQUIRE_ALL=1, but "+format, args...)
	}
	t.Skipf(format, args...)
}

// Root skips a test that only root can run.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, "this is not root")
	}
}
