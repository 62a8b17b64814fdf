package sandbox

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/runtime/python"
	"github.com/prairielambda/prairielambda/test/machine"
)

//go:embed testdata/echo.py
var echoPy []byte

var testLimits = jobs.Limits{
	Wall: 30 * time.Second, CPU: 5 * time.Second, Memory: 64 << 20, Processes: 16,
	Output: 32 << 10, Result: 64 << 10, Files: 4 << 20,
}

func newHost(t testing.TB, slots int) *Host {
	t.Helper()
	machine.Root(t)
	// User ids that other tests, which run meanwhile, hardly use: see processesOf.
	h, err := Open(Config{Slots: slots, BaseUID: 41000 + os.Getpid()%1000*16, Dir: t.TempDir(), Tier: Tier(os.Getenv(innerTier)), Cgroup: os.Getenv(innerCgroup)})
	require.NoError(t, err)
	t.Cleanup(h.Close)
	return h
}

func echoConfig() ZygoteConfig {
	root := HostRoot()
	root.Files["/prairie/seal.py"] = SealPy
	root.Files["/prairie/echo.py"] = echoPy
	return ZygoteConfig{Root: root, Argv: []string{"/usr/bin/python3", "-I", "-B", "/prairie/echo.py"}, Env: []string{"PATH=/usr/bin"}}
}

func newEcho(t testing.TB, h *Host) *Zygote {
	t.Helper()
	z, err := h.StartZygote(context.Background(), echoConfig())
	require.NoError(t, err)
	t.Cleanup(z.Close)
	return z
}

// spawn makes a sandbox that has said it is ready.
func spawn(t testing.TB, z *Zygote) *Box {
	t.Helper()
	b, err := z.Spawn(context.Background(), Spec{Limits: testLimits})
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	r := b.Ready(context.Background(), nil, testLimits.Wall)
	require.Equal(t, jobs.OK, r.Outcome, "%s %s", r.Message, r.Stderr)
	require.Equal(t, "ready", string(r.Frame))
	return b
}

// A request that went along may be at work, or answered, before it is heard that the
// sandbox is ready.
func TestWhatIsPrintedBeforeReadyIsHeardIsTheAnswers(t *testing.T) {
	z := newEcho(t, newHost(t, 1))
	for _, tc := range []struct {
		how     string
		printed int // bytes, when Ready is called
		sent    int // likewise, with the ready frame
		want    Turn
	}{
		{"flood", int(testLimits.Output) + 1, 4 + len("ready"), Turn{Outcome: jobs.OutputTooLarge}},
		{"say", len("said"), 4 + len("ready") + 4 + len("answered"), Turn{Outcome: jobs.OK, Frame: []byte("answered"), Stdout: []byte("said")}},
	} {
		b, err := z.Spawn(context.Background(), Spec{Limits: testLimits})
		require.NoError(t, err)
		defer b.Close()
		_, err = unix.Write(b.conn, Request([]byte(tc.how)))
		require.NoError(t, err)
		for fd, n := range map[int]int{b.stdout: tc.printed, b.conn: tc.sent} {
			require.Eventually(t, func() bool {
				there, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
				return err == nil && there >= n
			}, testLimits.Wall, time.Millisecond)
		}
		require.Equal(t, "ready", string(b.Ready(context.Background(), nil, testLimits.Wall).Frame))
		got := b.Turn(context.Background(), nil, testLimits.Wall)
		require.Equal(t, tc.want.Outcome, got.Outcome)
		if tc.want.Outcome == jobs.OK {
			require.Equal(t, tc.want.Frame, got.Frame)
			require.Equal(t, tc.want.Stdout, got.Stdout)
		}
		b.Close()
	}
}

func TestReadySaysWhatWasPrintedInItsPlace(t *testing.T) {
	b := spawn(t, newEcho(t, newHost(t, 1)))
	r := b.Ready(context.Background(), Request([]byte("exit")), testLimits.Wall)
	require.Equal(t, jobs.Killed, r.Outcome)
	require.Contains(t, r.Message, "code 7")
	require.Equal(t, "leaving", string(r.Stderr))
}

func TestTurnWithEveryKindOfAnswer(t *testing.T) {
	h := newHost(t, 4)
	z := newEcho(t, h)
	for _, tc := range []struct {
		how  string
		want jobs.Outcome
		text string // of the frame or the message
	}{
		{"hello", jobs.OK, "echo hello"},
		{"lie", jobs.OutputTooLarge, "65536 bytes"},
		{"partial", jobs.Killed, "code 0"},
		{"slow", jobs.OK, "abc"},
		{"drip", jobs.Timeout, "limit of 700ms"},
		{"flood", jobs.OutputTooLarge, "printed more"},
		{"floodresult", jobs.OutputTooLarge, "65536 bytes"},
		{"eof", jobs.Killed, "closed its channel"},
		{"holder", jobs.OK, "answered"},
		{"stopped", jobs.OK, "answered"},
		{"exit", jobs.Killed, "code 7"},
		{"memory", jobs.OutOfMemory, "64 MiB"},
	} {
		t.Run(tc.how, func(t *testing.T) {
			b, limit := spawn(t, z), testLimits.Wall
			if tc.want == jobs.Timeout {
				limit = 700 * time.Millisecond
			}
			r := b.Turn(context.Background(), Request([]byte(tc.how)), limit)
			require.Equal(t, tc.want, r.Outcome, "%s %s", r.Message, r.Stderr)
			require.Contains(t, string(r.Frame)+r.Message, tc.text)
			require.LessOrEqual(t, len(r.Stdout), int(testLimits.Output))
			b.Close()
			settled(t, h)
			require.Empty(t, children(t, h), "no process outlives its sandbox")
			if h.Tier() == TierRoot {
				require.Empty(t, processesOf(t, b), "no process outlives its sandbox")
			}
		})
	}
}

// children lists the sandboxes of h that are still processes.
func children(t testing.TB, h *Host) (left []string) {
	t.Helper()
	kids, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", h.spawner.tid))
	require.NoError(t, err)
	for _, pid := range strings.Fields(string(kids)) {
		own, _ := os.Readlink("/proc/self/ns/pid")
		its, err := os.Readlink("/proc/" + pid + "/ns/pid")
		cmdline, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		if strings.Contains(string(cmdline), stageArg) { // waits for a program; see TestStagesEndWithTheHost
			continue
		}
		if err != nil || its != own { // a zygote shares ours
			left = append(left, pid)
		}
	}
	return left
}

// processesOf lists what still runs under the box's user id.
func processesOf(t testing.TB, b *Box) (left []string) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/status")
	require.NoError(t, err)
	for _, d := range dirs {
		s, err := os.ReadFile(d)
		if err == nil && strings.Contains(string(s), fmt.Sprintf("\nUid:\t%d\t", b.slot.uid)) {
			left = append(left, d)
		}
	}
	return left
}

func TestTurnsInARowAndFramesAhead(t *testing.T) {
	z := newEcho(t, newHost(t, 1))
	b := spawn(t, z)
	ask := func(s string) Turn { return b.Turn(context.Background(), Request([]byte(s)), testLimits.Wall) }
	require.Equal(t, "echo a", string(ask("a").Frame))
	require.Equal(t, "one", string(ask("two").Frame))
	require.Equal(t, "two", string(b.Turn(context.Background(), nil, testLimits.Wall).Frame), "what came with the frame before")
	require.Equal(t, "echo b", string(ask("b").Frame))
	big := strings.Repeat("k", 1<<20) // more than the socket holds
	r := b.Turn(context.Background(), Request([]byte(big)), testLimits.Wall)
	require.Equal(t, jobs.OutputTooLarge, r.Outcome)
}

func TestTurnWhenTheCallerLeaves(t *testing.T) {
	h := newHost(t, 1)
	z := newEcho(t, h)
	b := spawn(t, z)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	r := b.Turn(ctx, Request([]byte("drip")), time.Minute)
	require.Equal(t, jobs.Killed, r.Outcome)
	require.Contains(t, r.Message, "went away")
	b.Close()
	settled(t, h)
	b.Kill() // after the end it aims at nobody
}

func TestSlotsAreBoundedAndReused(t *testing.T) {
	h := newHost(t, 2)
	z := newEcho(t, h)
	a, b := spawn(t, z), spawn(t, z)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := z.Spawn(ctx, Spec{Limits: testLimits})
	require.ErrorIs(t, err, errNoSlot)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	uid := a.slot.uid
	a.Close()
	a.Close() // harmless
	c := spawn(t, z)
	require.Equal(t, uid, c.slot.uid)
	b.Close()
	c.Close()
	settled(t, h)
}

// A zygote that ends, also between its fork and its word about it, leaves no
// process and no slot behind.
func TestZygoteThatFails(t *testing.T) {
	h := newHost(t, 2)
	for _, how := range []string{"die", "diemid", "refuse", "garbage", "nofd"} {
		t.Run(how, func(t *testing.T) {
			z := newEcho(t, h)
			_, err := z.Spawn(context.Background(), Spec{Limits: testLimits, Hello: []byte(`{"zygote":"` + how + `"}`)})
			require.Error(t, err)
			if strings.HasPrefix(how, "die") {
				require.ErrorIs(t, err, ErrZygoteDead)
				<-z.Dead()
				_, err := z.Spawn(context.Background(), Spec{Limits: testLimits})
				require.ErrorIs(t, err, ErrZygoteDead)
			}
			_, free, _ := h.Slots()
			require.Equal(t, 2, free)
			z.Close()
			kids, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", h.spawner.tid))
			require.NoError(t, err)
			require.Empty(t, strings.TrimSpace(string(kids)))
		})
	}
}

func TestZygoteDeathIsNoticedWithoutARequest(t *testing.T) {
	h := newHost(t, 1)
	z := newEcho(t, h)
	require.NoError(t, z.cmd.Process.Kill())
	select {
	case <-z.Dead():
	case <-time.After(30 * time.Second):
		t.Fatal("a killed zygote counts as alive")
	}
}

func TestZygoteThatCannotStart(t *testing.T) {
	h := newHost(t, 1)
	c := echoConfig()
	c.Argv = []string{"/usr/bin/python3", "-c", "raise SystemExit('no such luck')"}
	_, err := h.StartZygote(context.Background(), c)
	require.ErrorContains(t, err, "no such luck")
	c.Argv = []string{"/nowhere/python"}
	_, err = h.StartZygote(context.Background(), c)
	require.ErrorContains(t, err, "no such file")
	c = echoConfig()
	c.Argv = []string{"/usr/bin/sleep", "100"}
	c.Boot = 100 * time.Millisecond
	_, err = h.StartZygote(context.Background(), c)
	require.ErrorContains(t, err, "ready")
}

func TestTooManyMountsForOneMessage(t *testing.T) {
	h := newHost(t, 1)
	z := newEcho(t, h)
	dir, err := os.Open(t.TempDir())
	require.NoError(t, err)
	defer dir.Close()
	var ms []Mount
	for i := range 250 {
		ms = append(ms, Mount{dir, fmt.Sprintf("questions/q%d", i)})
	}
	_, err = z.Spawn(context.Background(), Spec{Limits: testLimits, Mounts: ms})
	require.ErrorContains(t, err, "more than one message holds")
	spawn(t, z) // and the zygote lives
}

func TestLateMountIsReadOnlyAndConfined(t *testing.T) {
	h := newHost(t, 1)
	z := newEcho(t, h)
	base := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(base, "q", "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(base, "q", "sub", "f"), []byte("x"), 0o644))
	root, err := os.Open(base)
	require.NoError(t, err)
	defer root.Close()
	q, err := OpenBeneath(root, "q")
	require.NoError(t, err)
	defer q.Close()
	b := spawn(t, z)
	require.NoError(t, b.Mount(context.Background(), []Mount{{q, "questions/a/b"}}))
	r := b.Turn(context.Background(), Request([]byte("course")), testLimits.Wall)
	require.Equal(t, `["/course/questions/a/b/sub/f"]`, string(r.Frame))
	for _, bad := range []string{"", "/abs", "../x", "a/../../x", "a//b"} {
		require.ErrorContains(t, b.Mount(context.Background(), []Mount{{q, bad}}), "want a clean path", "%q", bad)
	}
	b.Kill()
	require.Eventually(t, func() bool { return !b.Alive() }, 30*time.Second, time.Millisecond)
	require.Error(t, b.Mount(context.Background(), []Mount{{q, "questions/c"}}), "a spare that died")
}

// A fork that fails leaves the zygote as it was: no descriptor of the message stays.
func TestAFailedForkLeavesNothing(t *testing.T) {
	h := newHost(t, 4)
	h.walls.Clone |= unix.CLONE_NEWNS | unix.CLONE_FS // which the kernel refuses together
	c := echoConfig()
	for name, content := range python.Files() {
		c.Root.Files[name] = content
	}
	c.Argv[len(c.Argv)-1] = "/prairie/zygote.py"
	z, err := h.StartZygote(context.Background(), c)
	require.NoError(t, err)
	t.Cleanup(z.Close)
	open := func() int {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", z.cmd.Process.Pid))
		require.NoError(t, err)
		return len(fds)
	}
	fails := func() {
		_, err := z.Spawn(context.Background(), Spec{Limits: testLimits})
		require.ErrorContains(t, err, "fork a sandbox")
		require.NotErrorIs(t, err, ErrZygoteDead)
	}
	fails()
	before := open()
	for range 30 {
		fails()
	}
	require.Equal(t, before, open())
	_, free, _ := h.Slots()
	require.Equal(t, 4, free)
}

func TestHugeRanges(t *testing.T) {
	maps := `00400000-00900000 rw-p 00000000 00:00 0 
01000000-01a00000 rw-p 00000000 00:00 0                                  [heap]
7f0000100000-7f0000900000 rw-p 00000000 00:00 0 
7f0001000000-7f0001400000 rw-p 00000000 08:01 42                         /usr/lib/x.so
7f0002000000-7f0002400000 rw-s 00000000 00:00 0 
7f0003000000-7f0003400000 r--p 00000000 00:00 0 
7f0004000000-7f00041ff000 rw-p 00000000 00:00 0 
7ffd00000000-7ffd00400000 rw-p 00000000 00:00 0                          [stack]
not a line
`
	require.Equal(t, [][2]uint64{{0x400000, 0x800000}, {0x1000000, 0x1a00000}, {0x7f0000200000, 0x7f0000800000}}, hugeRanges(maps))
}
