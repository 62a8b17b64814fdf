package sandbox

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

// run executes a shell script in a sandbox of its own.
func run(t testing.TB, h *Host, script string, change func(*jobs.Limits)) (Turn, jobs.Usage) {
	t.Helper()
	l := testLimits
	if change != nil {
		change(&l)
	}
	b, err := h.Exec(context.Background(), Spec{Limits: l}, Command{
		Root: HostRoot(), Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", "X=1"}, Dir: "/tmp",
	})
	require.NoError(t, err)
	turn := b.Wait(context.Background(), l.Wall)
	return turn, b.Close()
}

func TestExecIsSealed(t *testing.T) {
	h := newHost(t, 2)
	turn, usage := run(t, h, `cat /proc/self/status /proc/self/uid_map; echo dirs: $(ls /) ; echo env: $(env | sort | tr '\n' ' ')
echo net: $(ls /proc/self/net/ 2>/dev/null | wc -l) host: $(uname -n) ; echo x > /tmp/a && echo writable; echo x > /usr/a || echo readonly; id -u; exit 3`, nil)
	require.True(t, turn.Exited, turn.Message)
	require.Equal(t, 3, turn.Status.ExitStatus(), "%s", turn.Stderr)
	out := string(turn.Stdout)
	for _, want := range []string{
		"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000",
		"CapInh:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "writable", "readonly", "host: sandbox",
	} {
		require.Contains(t, out, want)
	}
	require.NotContains(t, out, "PRAIRIE")
	if h.Tier() != TierRoot {
		require.Contains(t, out, "65534          0          1", "a leaf user namespace")
	}
	require.Positive(t, usage.CPU)
}

func TestZygoteChildIsSealed(t *testing.T) {
	h := newHost(t, 2)
	b := spawn(t, newEcho(t, h))
	out := string(b.Turn(context.Background(), Request([]byte("status")), testLimits.Wall).Frame)
	for _, want := range []string{
		"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000",
		"NoNewPrivs:\t1", "Seccomp:\t2", "Pid:\t1\n",
	} {
		require.Contains(t, out, want)
	}
	if h.Tier() != TierRoot {
		require.Contains(t, out, "65534          0          1", "a leaf user namespace")
	}
}

func TestExecLimits(t *testing.T) {
	h := newHost(t, 2)
	for _, tc := range []struct {
		name, script string
		want         jobs.Outcome
	}{
		{"memory", `exec python3 -c 'b = [bytearray(b"x" * (1 << 20)) for _ in range(1024)]; print("held")'`, jobs.OutOfMemory},
		{"wall", `sleep 100`, jobs.Timeout},
		{"output", `yes`, jobs.OutputTooLarge},
		{"cpu", `while :; do :; done`, jobs.Timeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			turn, _ := run(t, h, tc.script, func(l *jobs.Limits) {
				switch tc.name {
				case "cpu":
					l.CPU, l.Wall = time.Second, 5*time.Second
				case "wall":
					l.Wall = 500 * time.Millisecond
				}
			})
			if tc.name == "memory" && h.Tier() == TierReduced && turn.Exited && turn.Status.ExitStatus() == 1 {
				require.Contains(t, string(turn.Stderr), "MemoryError") // RLIMIT_DATA answered first
			} else {
				require.Equal(t, tc.want, turn.Outcome, "%s %s", turn.Message, turn.Stderr)
			}
			require.NotContains(t, string(turn.Stdout), "held")
			settled(t, h)
			require.Empty(t, children(t, h))
		})
	}
	turn, _ := run(t, h, `for i in $(seq 100); do sleep 5 & done 2>&1; echo never`, nil)
	require.NotEqual(t, jobs.OK, turn.Outcome)
	require.Contains(t, strings.ToLower(string(turn.Stdout)+string(turn.Stderr)), "cannot fork", "the process limit")
}

func TestReducedTierDeniesMemfd(t *testing.T) {
	h := newHost(t, 1)
	turn, _ := run(t, h, `exec python3 -c 'import os
try: os.memfd_create("x"); print("made")
except OSError as e: print(e.errno)'`, nil)
	want := "made\n"
	if h.Tier() == TierReduced {
		want = "38\n" // ENOSYS
	}
	require.Equal(t, want, string(turn.Stdout), "%s", turn.Stderr)
}

func TestDial(t *testing.T) {
	h := newHost(t, 1)
	b, err := h.Exec(context.Background(), Spec{Limits: testLimits}, Command{
		Root: HostRoot(), Env: []string{"PATH=/usr/bin"}, Argv: []string{"/usr/bin/python3", "-c", `
import socket
s = socket.socket(socket.AF_UNIX); s.bind("/tmp/s"); s.listen()
c, _ = s.accept(); c.sendall(b"inside"); c.close()`},
	})
	require.NoError(t, err)
	defer b.Close()
	var got []byte
	require.Eventually(t, func() bool {
		c, err := b.Dial("/tmp/s")
		if errors.Is(err, ErrNotListening) {
			return false
		}
		require.NoError(t, err)
		defer c.Close()
		got, err = io.ReadAll(c)
		return err == nil
	}, 30*time.Second, 5*time.Millisecond)
	require.Equal(t, "inside", string(got))
}

// What one sandbox leaves in a scratch the next finds, and the host never sees.
func TestExecSharesAScratch(t *testing.T) {
	h := newHost(t, 2)
	s, err := h.NewScratch(1<<20, map[string][]byte{"given": []byte("g")})
	require.NoError(t, err)
	root := HostRoot()
	root.Dirs = append(root.Dirs, "/work")
	step := func(script string) string {
		b, err := h.Exec(context.Background(), Spec{Limits: testLimits, Scratch: s, Stdin: []byte("typed\n")}, Command{
			Root: root, Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/work",
		})
		require.NoError(t, err)
		defer b.Close()
		turn := b.Wait(context.Background(), testLimits.Wall)
		return string(turn.Stdout) + string(turn.Stderr)
	}
	require.Equal(t, "gtyped\n", step("cat given; cat; echo made > built; chmod 6755 built; echo x > /proc/self/fd/0")[:7])
	require.Contains(t, step("ls; dd if=/dev/zero of=big bs=1M count=4"), "No space left")
	require.Contains(t, step("cat built"), "made")
	seen, err := os.ReadDir(h.dir + "/root")
	require.NoError(t, err)
	require.Empty(t, seen)
	require.NoError(t, s.Close())
	_, err = h.NewScratch(1<<20, map[string][]byte{"../x": nil})
	require.ErrorContains(t, err, "plain name")
}
