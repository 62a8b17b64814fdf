package sandbox

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	Stage()
	os.Exit(m.Run())
}

// needRoot skips on a machine that cannot do what the test is about.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("REQUIRE_ALL") == "1" {
			t.Fatal("this test needs root")
		}
		t.Skip("needs root")
	}
}
