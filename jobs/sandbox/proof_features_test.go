package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/test/machine"
)

// What a machine lacks that is more than one system call. In each case nothing
// may run, and the words must say what would help; TestTiersWithoutRoot has those
// about a cgroup that was not delegated.

func TestWithoutUserNamespaces(t *testing.T) {
	machine.Root(t)
	if os.Getenv(innerTier) != "" {
		t.Skip("this is the inner run")
	}
	path, v2 := delegate(t)
	spec := fmt.Sprintf("%s=%d %d %d", innerDeny, unix.SYS_CLONE, unix.EPERM, unix.CLONE_NEWUSER)
	for _, tier := range []Tier{TierUserns, TierReduced} {
		out, err := asStranger(t, tier, path, v2, "^TestInnerSandboxes$", spec)
		require.Error(t, err, out)
		require.Contains(t, out, "user.max_user_namespaces")
		require.NotContains(t, out, ": ran")
	}
}

func TestWithoutCgroups(t *testing.T) {
	machine.Root(t)
	if os.Getenv(innerTier) != "" {
		t.Skip("this is the inner run")
	}
	// In a mount namespace of its own, where no cgroup tree is mounted.
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c",
		`umount -R /sys/fs/cgroup && exec "$0" -test.run '^TestInnerSandboxes$'`, self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", innerDeny, 1023, unix.ENOSYS))
	b, _ := cmd.CombinedOutput()
	out := string(b)
	require.Contains(t, out, "open: prepare sandboxes (tier root): no cgroup tree has both memory and pids controllers")
	require.True(t, strings.Contains(out, "Delegate=yes") && strings.Contains(out, "--tier reduced"), out)
	require.NotContains(t, out, ": ran")
}

// On a kernel whose cgroup trees lack one of the two controllers no limit holds.
func TestWithHalfOfTheCgroups(t *testing.T) {
	machine.Root(t)
	if os.Getenv(innerTier) != "" {
		t.Skip("this is the inner run")
	}
	if _, err := os.Stat("/sys/fs/cgroup/pids/cgroup.procs"); err != nil {
		t.Skip("cgroup2 alone: TestOpenV2PreparesADelegatedTree has the case")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c",
		`umount /sys/fs/cgroup/pids && exec "$0" -test.run '^TestInnerSandboxes$'`, self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", innerDeny, 1023, unix.ENOSYS))
	b, _ := cmd.CombinedOutput()
	require.Contains(t, string(b), "no cgroup tree has both memory and pids controllers")
	require.NotContains(t, string(b), ": ran")
}
