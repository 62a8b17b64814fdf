package sandbox

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// stuck is a root whose /program nobody can open for as long as the test lasts:
// whoever starts it waits for a lease that is not given back. A mount that does not
// answer looks like that.
func stuck(t *testing.T) Root {
	t.Helper()
	b, err := os.ReadFile("/bin/true")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	name := filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(name, b, 0o755))
	f, err := os.Open(name)
	require.NoError(t, err)
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return EnvRoot(dir)
}

// Neither a program nor an interpreter whose root does not answer holds up its
// caller for longer than that one's context; the slot is back.
func TestARootThatDoesNotAnswerIsLeftBehind(t *testing.T) {
	h := newHost(t, 1)
	root, argv := stuck(t), []string{"/program"}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := h.Exec(ctx, Spec{Limits: testLimits}, Command{Root: root, Argv: argv})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Eventually(t, func() bool { total, free, _ := h.Slots(); return free == total }, 30*time.Second, 5*time.Millisecond)
	turn, _ := run(t, h, "exit 3", nil)
	require.Equal(t, 3, turn.Status.ExitStatus(), "%+v", turn)

	_, err = h.StartZygote(context.Background(), ZygoteConfig{Root: root, Argv: argv, Boot: 300 * time.Millisecond})
	require.ErrorContains(t, err, "not ready within 300ms")
	ctx, cancel = context.WithCancel(context.Background())
	time.AfterFunc(100*time.Millisecond, cancel)
	_, err = h.StartZygote(ctx, ZygoteConfig{Root: root, Argv: argv})
	require.ErrorIs(t, err, context.Canceled)
	require.Eventually(t, func() bool {
		ready := h.Ready() // of the program above
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.children) == ready
	}, 30*time.Second, 5*time.Millisecond, "all of them have ended")
}
