package sandbox

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/test/machine"
)

// waitingStages waits until as many stages wait as are wanted.
func waitingStages(t testing.TB, h *Host, n int) []*stage {
	t.Helper()
	var all []*stage
	require.Eventually(t, func() bool {
		h.ready.mu.Lock()
		defer h.ready.mu.Unlock()
		all = append([]*stage{}, h.ready.waiting...)
		return len(all) == n && !h.ready.making
	}, 30*time.Second, 5*time.Millisecond)
	return all
}

// A program in a stage that waited is closed off like any other, has its own
// limits and not those the stage was born with, and pays for none of its start.
func TestProgramInAReadyStage(t *testing.T) {
	h := newHost(t, 8)
	_, _ = run(t, h, "exit 0", nil)
	stages := waitingStages(t, h, 2)
	total, free, _ := h.Slots()
	require.Equal(t, total, free, "a slot that a stage waits in is anybody's")
	pid := stages[1].cmd.Process.Pid
	script := `grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; uname -n; id -u; ls /proc/self/fd | wc -l`
	b, err := h.Exec(context.Background(), Spec{Limits: testLimits}, Command{
		Root: HostRoot(), Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/tmp",
	})
	require.NoError(t, err)
	require.Equal(t, pid, b.pid, "it was the stage that waited")
	turn := b.Wait(context.Background(), testLimits.Wall)
	usage := b.Close()
	out := string(turn.Stdout)
	for _, want := range []string{"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "sandbox\n"} {
		require.Contains(t, out, want)
	}
	require.True(t, strings.HasSuffix(out, "\n4\n"), "three descriptors and that of the listing: %s", out)
	require.Less(t, usage.Wall, testLimits.Wall)

	waitingStages(t, h, 2)
	turn, _ = run(t, h, `exec python3 -c 'b = bytearray(b"x" * (256 << 20)); print("held")'`, func(l *jobs.Limits) { l.Memory = 64 << 20 })
	require.NotContains(t, string(turn.Stdout), "held")
}

// Slots are there for sandboxes first.
func TestStagesGiveTheirSlotsBack(t *testing.T) {
	h := newHost(t, 4)
	_, _ = run(t, h, "exit 0", nil)
	waitingStages(t, h, 2)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var boxes []*Box
	for range 4 {
		b, ends, err := h.newBox(ctx, testLimits)
		require.NoError(t, err)
		ends.close()
		boxes = append(boxes, b)
	}
	require.Zero(t, h.ready.count())
	for _, b := range boxes {
		b.Close()
	}
	_, free, _ := h.Slots()
	require.Equal(t, 4, free)
}

// A stage that died, or was told another root, is not used.
func TestStagesThatCannotBeUsed(t *testing.T) {
	h := newHost(t, 8)
	_, _ = run(t, h, "exit 0", nil)
	for _, s := range waitingStages(t, h, 2) {
		require.NoError(t, s.cmd.Process.Kill())
		require.Eventually(t, func() bool { return h.ready.take("another root") == nil && hungUp(s) }, 30*time.Second, time.Millisecond)
	}
	turn, _ := run(t, h, "echo there", nil)
	require.Equal(t, "there\n", string(turn.Stdout), "%s %s", turn.Message, turn.Stderr)
	root := HostRoot()
	root.Dirs = append(root.Dirs, "/elsewhere")
	b, err := h.Exec(context.Background(), Spec{Limits: testLimits}, Command{Root: root, Argv: []string{"/bin/ls", "-d", "/elsewhere"}, Dir: "/"})
	require.NoError(t, err)
	defer b.Close()
	require.Equal(t, "/elsewhere\n", string(b.Wait(context.Background(), testLimits.Wall).Stdout))
}

func hungUp(s *stage) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(s.link), Events: unix.POLLIN}}, 0)
	return n == 1 && err == nil
}

func TestStagesEndWithTheHost(t *testing.T) {
	machine.Root(t)
	h, err := Open(Config{Slots: 8, Dir: t.TempDir(), Tier: Tier(os.Getenv(innerTier)), Cgroup: os.Getenv(innerCgroup)})
	require.NoError(t, err)
	_, _ = run(t, h, "exit 0", nil)
	stages := waitingStages(t, h, 2)
	h.Close()
	for _, s := range stages {
		_, err := os.Stat(fmt.Sprintf("/proc/%d", s.cmd.Process.Pid))
		require.ErrorIs(t, err, os.ErrNotExist)
	}
}
