package attacks

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs/sandbox"
	"github.com/prairielambda/prairielambda/test/machine"
)

// stranger is a user without a name, a home or a right.
const stranger = 54321

// The whole corpus once more, in the tier of a user without root to whom a
// cgroup was delegated.
func TestAttacksWithoutRoot(t *testing.T) {
	if os.Getenv(innerTier) != "" {
		t.Skip("this is the inner run")
	}
	machine.Root(t)
	t.Parallel()
	path := fmt.Sprintf("/prairie-attacks-%d", os.Getpid())
	attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}, Pdeathsig: unix.SIGKILL}
	// The trees of a hybrid or v1 machine, or the one of v2.
	for _, tree := range []string{"memory", "pids", "unified", ""} {
		mount := filepath.Join("/sys/fs/cgroup", tree)
		if _, err := os.Stat(filepath.Join(mount, "cgroup.procs")); err != nil {
			continue
		}
		dir := filepath.Join(mount, path)
		require.NoError(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() { _ = os.Remove(dir) })
		for _, f := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
			_ = os.Chown(filepath.Join(dir, f), stranger, stranger) // not every tree has every file
		}
		if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err == nil {
			f, err := os.Open(dir)
			require.NoError(t, err)
			defer f.Close()
			attr.UseCgroupFD, attr.CgroupFD = true, int(f.Fd())
		}
	}
	dir, err := os.MkdirTemp("/tmp", "prairie-stranger-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chown(dir, stranger, stranger))
	exe := filepath.Join(dir, "attacks.test")
	in, err := os.Open("/proc/self/exe")
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(exe, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())

	cmd := exec.Command(exe, "-test.run", "^(TestAttacks|TestNothing|TestRandom)", "-test.timeout=4m")
	cmd.Dir, cmd.SysProcAttr = dir, attr
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TMPDIR=" + dir, innerTier + "=" + string(sandbox.TierUserns), innerCgroup + "=" + path}
	runtime.LockOSThread() // the child dies with the thread that started it
	defer runtime.UnlockOSThread()
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)
}
