package sandbox

import (
	"fmt"
	"os"
	"testing"

	"github.com/prairielambda/prairielambda/test/machine"
)

func TestMain(m *testing.M) {
	Stage()
	if spec := os.Getenv(innerDeny); spec != "" { // see TestEveryStepFailsClosed
		if err := deny(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if os.Getenv(innerTier) == "" {
		machine.OwnMounts()
	} else if err := EnterUserns(); err != nil { // see TestTiersWithoutRoot
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// The tests run once more in the tiers that are no root's, told by these.
const (
	innerTier   = "PRAIRIE_TEST_TIER"
	innerCgroup = "PRAIRIE_TEST_CGROUP"
	innerDeny   = "PRAIRIE_TEST_DENY" // "<syscall number> <errno>" for the whole inner run
)
