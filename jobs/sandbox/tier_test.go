package sandbox

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/test/machine"
)

// stranger is a user without a name, a home or a right.
const stranger = 54321

// delegate makes a cgroup in every tree that a sandbox wants and gives it to the
// stranger, as `systemd-run --user --scope -p Delegate=yes` does; v2 is its
// directory in the cgroup2 tree, or nil.
func delegate(t *testing.T) (path string, v2 *os.File) {
	t.Helper()
	path = fmt.Sprintf("/prairie-test-%d", os.Getpid())
	trees, err := cgroupTrees()
	require.NoError(t, err)
	for _, ctl := range []string{"memory", "pids", ""} {
		tr, ok := trees[ctl]
		if !ok {
			continue
		}
		dir := filepath.Join(tr.mount, path)
		require.NoError(t, os.MkdirAll(dir, 0o755))
		for _, f := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
			if err := os.Chown(filepath.Join(dir, f), stranger, stranger); f == "" {
				require.NoError(t, err)
			}
		}
		t.Cleanup(func() { removeCgroup(dir) })
		if ctl == "" {
			v2, err = os.Open(dir)
			require.NoError(t, err)
			t.Cleanup(func() { v2.Close() })
		}
	}
	return path, v2
}

// asStranger runs this test binary's tests that match pattern as the stranger,
// within the tier; env is added to what they get.
func asStranger(t *testing.T, tier Tier, cgroup string, v2 *os.File, pattern string, env ...string) (string, error) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "prairie-tier-") // t.TempDir's parent is closed to others
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chown(dir, stranger, stranger))
	exe := filepath.Join(dir, "sandbox.test")
	copyFile(t, "/proc/self/exe", exe)
	cmd := exec.Command(exe, "-test.run", pattern, "-test.v", "-test.timeout=2m")
	cmd.Dir = dir
	cmd.Env = append(env, "PATH=/usr/bin:/bin", "TMPDIR="+dir, innerTier+"="+string(tier), innerCgroup+"="+cgroup)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}, Pdeathsig: unix.SIGKILL}
	if v2 != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(v2.Fd())
	}
	runtime.LockOSThread() // the child dies with the thread that started it
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
}

// everyTier are the tests of this package that make sandboxes.
const everyTier = "^Test(Turn|Turns|Slots|Zygote|TooMany|Late|Exec|Dial|Reduced)"

func TestTiersWithoutRoot(t *testing.T) {
	if os.Getenv(innerTier) != "" {
		t.Skip("this is the inner run")
	}
	machine.Root(t)
	t.Run("userns", func(t *testing.T) {
		path, v2 := delegate(t)
		out, err := asStranger(t, TierUserns, path, v2, everyTier)
		require.NoError(t, err, out)
		require.Contains(t, out, "--- PASS: TestExecIsSealed")
		require.NotContains(t, out, "--- SKIP")
	})
	t.Run("reduced", func(t *testing.T) {
		out, err := asStranger(t, TierReduced, "", nil, everyTier)
		require.NoError(t, err, out)
		require.Contains(t, out, "--- PASS: TestExecIsSealed")
		require.NotContains(t, out, "--- SKIP")
	})
	t.Run("userns without a cgroup is refused", func(t *testing.T) {
		out, err := asStranger(t, TierUserns, "", nil, "^TestDial$")
		require.Error(t, err, out)
		require.True(t, strings.Contains(out, "--tier reduced") && strings.Contains(out, "Delegate=yes"), out)
	})
	t.Run("root is refused", func(t *testing.T) {
		out, err := asStranger(t, TierRoot, "", nil, "^TestDial$")
		require.Error(t, err, out)
		require.Contains(t, out, "tier root was asked for, this process can give userns")
	})
}

// A zygote is in the background only while it forks a spare, and keeps the
// worker's niceness; so does a spare from its claim on.
func TestTheBackgroundEnds(t *testing.T) {
	h := newHost(t, 4)
	z := newEcho(t, h)
	policy := func(pid int) (p uint32, nice int32) {
		a, err := unix.SchedGetAttr(pid, 0)
		require.NoError(t, err)
		return a.Policy, a.Nice
	}
	_, nice := policy(z.cmd.Process.Pid)
	require.Equal(t, nice, niceness())
	b, err := z.Spawn(context.Background(), Spec{Limits: testLimits, Idle: true})
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	require.Equal(t, jobs.OK, b.Turn(context.Background(), nil, testLimits.Wall).Outcome)
	p, n := policy(b.pid)
	require.Equal(t, h.raises, p == unix.SCHED_IDLE)
	require.Equal(t, nice, n)
	b.Restart(testLimits)
	for _, pid := range []int{b.pid, z.cmd.Process.Pid} {
		p, n := policy(pid)
		require.EqualValues(t, unix.SCHED_NORMAL, p)
		require.Equal(t, nice, n)
	}
}

// A call that must wait until a spare is forked does not wait in the background.
func TestACallBringsTheZygoteBack(t *testing.T) {
	h := newHost(t, 4)
	z := newEcho(t, h)
	if !h.raises {
		machine.Skip(t, "only root with CAP_SYS_NICE comes back from SCHED_IDLE")
	}
	policy := func() uint32 {
		a, err := unix.SchedGetAttr(z.cmd.Process.Pid, 0)
		require.NoError(t, err)
		return a.Policy
	}
	require.NoError(t, z.cmd.Process.Signal(syscall.SIGSTOP)) // in the middle of a fork, for all that others see
	boxes, errs := make(chan *Box, 2), make(chan error, 2)
	spawn := func(idle bool) {
		b, err := z.Spawn(context.Background(), Spec{Limits: testLimits, Idle: idle})
		boxes <- b
		errs <- err
	}
	go spawn(true)
	require.Eventually(t, func() bool { return policy() == unix.SCHED_IDLE }, time.Minute, time.Millisecond)
	go spawn(false)
	require.Eventually(t, func() bool { return policy() == unix.SCHED_NORMAL }, time.Minute, time.Millisecond)
	require.NoError(t, z.cmd.Process.Signal(syscall.SIGCONT))
	for range 2 {
		b := <-boxes
		require.NoError(t, <-errs)
		t.Cleanup(func() { b.Close() })
		a, err := unix.SchedGetAttr(b.pid, 0)
		require.NoError(t, err)
		require.Equal(t, b.idle, a.Policy == unix.SCHED_IDLE)
	}
	require.EqualValues(t, unix.SCHED_NORMAL, policy())
}
