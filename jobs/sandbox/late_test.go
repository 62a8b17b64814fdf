package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
)

// detain has the end of a sandbox wait until it is let go: a process from outside is
// in its pid namespace, and its parent does not look after it.
func detain(t testing.TB, b *Box) (release func()) {
	t.Helper()
	cmd := exec.Command("nsenter", fmt.Sprintf("--pid=/proc/%d/ns/pid", b.pid), "sleep", "1000")
	require.NoError(t, cmd.Start())
	var child []byte
	require.Eventually(t, func() bool {
		child, _ = os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
		return len(child) > 0
	}, 30*time.Second, time.Millisecond)
	require.NoError(t, cmd.Process.Signal(unix.SIGSTOP))
	require.Eventually(t, func() bool { return procStat(cmd.Process.Pid, 3) == "T" }, 30*time.Second, time.Millisecond)
	release = func() { _ = cmd.Process.Signal(unix.SIGCONT) }
	t.Cleanup(func() {
		b.Kill() // and the one inside with it
		release()
		_ = cmd.Wait()
	})
	return release
}

// settled waits until every slot is free again: Close leaves behind what takes long to die.
func settled(t testing.TB, h *Host) {
	t.Helper()
	require.Eventually(t, func() bool {
		total, free, stuck := h.Slots()
		return free == total && stuck == 0
	}, 30*time.Second, time.Millisecond, "a slot did not come back")
}

// A program's channel closes before the last of what it started is gone. What became
// of it is known only then.
func TestAnEndThatTakesItsTimeIsItsOwn(t *testing.T) {
	b := spawn(t, newEcho(t, newHost(t, 1)))
	time.AfterFunc(500*time.Millisecond, detain(t, b))
	r := b.Turn(context.Background(), Request([]byte("exit")), testLimits.Wall)
	require.Equal(t, jobs.Killed, r.Outcome)
	require.True(t, r.Exited)
	require.Contains(t, r.Message, "code 7")
}

func TestTheHostEndsAfterWhatDiesLate(t *testing.T) {
	h := newHost(t, 2)
	z := newEcho(t, h)
	b := spawn(t, z)
	release := detain(t, b)
	b.Close()
	z.Close()
	_, free, _ := h.Slots()
	require.Equal(t, 1, free, "it does not die")
	time.AfterFunc(300*time.Millisecond, release)
	h.takeBack()
	h.mu.Lock()
	defer h.mu.Unlock()
	require.Empty(t, h.children)
	h.slots = 0
}

// The number of a sandbox that was waited for means another process.
func TestDialMeansTheSandboxAndNotItsNumber(t *testing.T) {
	h := newHost(t, 1)
	at := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", at)
	require.NoError(t, err)
	defer ln.Close()
	fd := -1
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{PidFD: &fd}
	require.NoError(t, cmd.Run())
	b := &Box{host: h, pid: os.Getpid(), pidfd: os.NewFile(uintptr(fd), "pidfd")}
	defer b.pidfd.Close()
	_, err = b.Dial(at)
	require.ErrorIs(t, err, ErrNotListening)
}

func TestAChildWithANumberThatWasUsedIsKnown(t *testing.T) {
	h := &Host{children: map[int]int{}}
	h.remember(7)
	h.remember(7) // the first one was waited for, and is not forgotten yet
	h.forget(7)
	require.Contains(t, h.children, 7)
	h.forget(7)
	require.Empty(t, h.children)
}

// Whoever needs a slot gets one that a stage waits in, also when the first is taken
// from under them.
func TestAStageYieldsForEverybody(t *testing.T) {
	h := newHost(t, 4)
	_, _ = run(t, h, "exit 0", nil)
	waitingStages(t, h, 2)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	first, second := <-h.free, <-h.free
	taken := make(chan *slot)
	go func() { taken <- <-h.free }()
	time.Sleep(20 * time.Millisecond) // it waits, and is faster
	s, err := h.acquire(ctx)
	require.NoError(t, err)
	for _, s := range []*slot{first, second, s, <-taken} {
		h.release(s)
	}
}
