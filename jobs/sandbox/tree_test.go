package sandbox

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/test/machine"
)

func treeHost(t *testing.T) *Host {
	t.Helper()
	machine.Root(t)
	h, err := Open(Config{Tier: TierRoot, Slots: 2, Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(h.Close)
	return h
}

func treeLimits() jobs.Limits {
	return jobs.Limits{Wall: time.Minute, CPU: time.Minute, Memory: 256 << 20, Processes: 64, Output: 1 << 20, Files: 8 << 20}
}

// inTree runs a program to its end.
func inTree(t *testing.T, tree *Tree, spec TreeSpec) Turn {
	t.Helper()
	if spec.Limits == (jobs.Limits{}) {
		spec.Limits = treeLimits()
	}
	b, err := tree.Run(t.Context(), spec)
	require.NoError(t, err)
	defer b.Close()
	return b.Wait(t.Context(), spec.Limits.Wall)
}

func TestATreeKeepsWhatWasChangedAndTheLowerOneIsAsItWas(t *testing.T) {
	h, lower := treeHost(t), shellTree(t)
	require.NoError(t, os.Chmod(lower, 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(lower, "etc/old"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(lower, "etc/gone"), []byte("gone\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(lower, "etc/mine"), []byte("mine"), 0o640))
	require.NoError(t, os.Chown(filepath.Join(lower, "etc/mine"), 12, 34))
	tree, err := h.NewTree(lower, 16<<20)
	require.NoError(t, err)
	defer func() { require.NoError(t, tree.Close()) }()
	for _, script := range []string{
		`echo new > /etc/new; read -r a < /etc/gone; echo $a`,
		`read -r a < /etc/new && echo $a; echo more >> /etc/mine; echo x > /tmp/x; echo x > /build/x; echo x > /hidden/x`,
	} {
		turn := inTree(t, tree, TreeSpec{Argv: []string{"/usr/bin/sh", "-ec", script}, Hidden: []string{"/hidden", "/etc/old"}})
		if !strings.Contains(script, "hidden/x") {
			require.Zero(t, turn.Status.ExitStatus(), "%s %s", turn.Message, turn.Stderr)
			require.Equal(t, "gone\n", string(turn.Stdout))
		} else {
			require.Equal(t, "new\n", string(turn.Stdout)) // and /hidden is nowhere: nothing is made to hide
		}
	}
	at := fmt.Sprintf("/proc/self/fd/%d/", tree.Delta().Fd())
	b, err := os.ReadFile(at + "etc/mine")
	require.NoError(t, err)
	require.Equal(t, "minemore\n", string(b))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(at+"etc/mine", &st))
	require.Equal(t, []uint32{12, 34, 0o640}, []uint32{st.Uid - TreeBaseID, st.Gid - TreeBaseID, st.Mode & 0o777})
	require.NoError(t, unix.Stat(at+"etc/new", &st))
	require.Equal(t, []uint32{TreeBaseID, TreeBaseID}, []uint32{st.Uid, st.Gid})
	for _, none := range []string{"tmp/x", "build/x", "etc/gone", "dev/null"} {
		require.NoFileExists(t, at+none)
	}
	b, err = os.ReadFile(filepath.Join(lower, "etc/mine"))
	require.NoError(t, err)
	require.Equal(t, "mine", string(b))
}

// hostile is what an install script might try. Every line that it prints is
// something that it should not have got.
const hostile = `
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def got(what): print("got", what, flush=True)
def tries(what, f, *a):
    try: f(*a)
    except (OSError, ValueError) as e: return
    got(what)
def tcp(host, port):
    s = socket.create_connection((host, port), 2); s.close()
for host, port in [("127.0.0.1", HOSTPORT), ("127.0.0.1", 22), ("169.254.169.254", 80), ("10.0.0.1", 80), ("192.0.2.1", 443), ("::1", HOSTPORT), ("fe80::1", 80)]:
    tries(f"tcp {host}:{port}", tcp, host, port)
tries("dns", socket.getaddrinfo, "mirror.example", 80)
def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b"x", ("192.0.2.53", 53))
tries("udp", udp)
def abstract():
    socket.socket(socket.AF_UNIX).connect("\0ABSTRACT")
tries("abstract socket", abstract)
for family, kind in [(socket.AF_NETLINK, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW), (socket.AF_INET, socket.SOCK_RAW), (socket.AF_VSOCK, socket.SOCK_STREAM), (38, socket.SOCK_SEQPACKET)]:
    tries(f"socket {family}", socket.socket, family, kind)
for name, nr, args in [("unshare", 272, (0x10000000,)), ("unshare mounts", 272, (0x20000,)), ("setns", 308, (0, 0)), ("mount", 165, (b"x", b"/tmp", b"tmpfs", 0, 0)),
    ("umount", 166, (b"/build", 2)), ("pivot_root", 155, (b"/", b"/")), ("bpf", 321, (0, 0, 0)), ("keyctl", 250, (0, -3, 1)), ("add_key", 248, (b"user", b"a", b"b", 1, -3)),
    ("ptrace", 101, (0, 0, 0, 0)), ("io_uring", 425, (1, 0)), ("perf", 298, (0, 0, 0, 0, 0)), ("userfaultfd", 323, (0,)), ("open_tree", 428, (-100, b"/", 1)),
    ("fsopen", 430, (b"tmpfs", 0)), ("open_by_handle_at", 304, (-100, 0, 0)), ("init_module", 175, (0, 0, b"")), ("kexec", 246, (0, 0, 0, 0)), ("clone3", 435, (0, 0)), ("sethostname", 170, (b"x", 1)),
    ("settimeofday", 164, (0, 0)), ("reboot", 169, (0, 0, 0, 0)), ("swapon", 167, (b"/x", 0)), ("clone newuser", 56, (0x10000011, 0, 0, 0, 0))]:
    if libc.syscall(nr, *args) >= 0: got(name)
tries("device", os.mknod, "/tmp/mem", 0o20600, os.makedev(1, 1))
tries("disk", os.mknod, "/work/vda", 0o60600, os.makedev(254, 0))
for p in ["/usr/bin/sh", "/usr/lib/x", "/etc/passwd", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/kcore", "/sys/kernel/uevent_helper", "/dev/vda", "/dev/mem", "/build/show/x"]:
    tries("write " + p, open, p, "w")
for p in ["/proc/1/root/root", "/root", "/home", "/work/../root"]:
    tries("list " + p, lambda p=p: os.listdir(p) == [] or None if os.listdir(p) else (_ for _ in ()).throw(ValueError()))
others = [p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]
if others: got(f"processes {others}")
if [k for k in os.environ if k not in ("PATH", "LC_CTYPE")]: got(f"environment {dict(os.environ)}")
if [f for f in os.listdir("/proc/self/fd") if int(f) > 3]: got("descriptors")
if open("/build/show/readable").read() != "shown": got("no input")
s = socket.create_connection(("127.0.0.1", 3128), 5); s.sendall(b"GET / HTTP/1.0\r\n\r\n")
if b"served" not in s.recv(4096): got("no server")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in (0, 1, 2): os.close(fd)
        ctypes.CDLL(None).prctl(15, b"MARK")
        import time; time.sleep(1000)
    os._exit(0)
`

func TestAHostileProgramInATreeReachesNothingAndLeavesNothing(t *testing.T) {
	h := treeHost(t)
	before := mounts(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	name := "prairie-tree-test-" + fmt.Sprint(os.Getpid())
	abstract, err := net.Listen("unix", "@"+name)
	require.NoError(t, err)
	defer abstract.Close()
	show := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(show, "readable"), []byte("shown"), 0o644))
	dir, err := os.Open(show)
	require.NoError(t, err)
	defer dir.Close()
	mark := fmt.Sprintf("left%d", os.Getpid()%100000)
	script := strings.NewReplacer("HOSTPORT", fmt.Sprint(ln.Addr().(*net.TCPAddr).Port), "ABSTRACT", name, "MARK", mark).Replace(hostile)
	tree, err := h.NewTree("", 16<<20)
	require.NoError(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })}
	defer srv.Close()
	turn := inTree(t, tree, TreeSpec{
		Argv: []string{"/usr/bin/python3", "/build/hostile.py"}, Env: []string{"PATH=/usr/bin"}, Files: map[string][]byte{"hostile.py": []byte(script)},
		Show: map[string]*os.File{"show": dir}, Serve: func(ln net.Listener) { go func() { _ = srv.Serve(ln) }() },
	})
	require.Empty(t, string(turn.Stdout))
	require.Zero(t, turn.Status.ExitStatus(), "%s: %s", turn.Message, turn.Stderr)
	all, err := filepath.Glob("/proc/[0-9]*/comm")
	require.NoError(t, err)
	for _, p := range all {
		b, _ := os.ReadFile(p)
		require.NotEqual(t, mark, strings.TrimSpace(string(b)), "a process was left")
	}
	require.NoError(t, tree.Close())
	require.Equal(t, before, mounts(t))
}

// mounts are all that there are: see machine.OwnMounts.
func mounts(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	return string(b)
}

func TestATreeIsBoundedInEverything(t *testing.T) {
	h := treeHost(t)
	tree, err := h.NewTree("", 4<<20)
	require.NoError(t, err)
	defer func() { require.NoError(t, tree.Close()) }()
	python := func(script string, limits jobs.Limits) Turn {
		return inTree(t, tree, TreeSpec{Argv: []string{"/usr/bin/python3", "-c", script}, Limits: limits})
	}
	turn := python("open('/work/x', 'wb').write(bytes(8 << 20))", treeLimits())
	require.Contains(t, string(turn.Stderr), "No space left")
	turn = python("open('/tmp/x', 'wb').write(bytes(16 << 20))", treeLimits())
	require.Contains(t, string(turn.Stderr), "No space left")
	turn = python("x = bytearray(1 << 30)\nfor i in range(0, len(x), 4096): x[i] = 1", treeLimits())
	require.Equal(t, jobs.OutOfMemory, turn.Outcome, turn.Message)
	turn = python("while True: print('x' * 1000)", treeLimits())
	require.Equal(t, jobs.OutputTooLarge, turn.Outcome)
	turn = python("import os\nn = 0\nwhile True:\n  try: pid = os.fork()\n  except OSError: break\n  if pid == 0: os.pause() if hasattr(os, 'pause') else __import__('time').sleep(60)\n  n += 1\nprint(n)", treeLimits())
	require.NotContains(t, string(turn.Stderr), "Traceback")
	require.Less(t, len(strings.TrimSpace(string(turn.Stdout))), 3, "%s", turn.Stdout)
	l := treeLimits()
	l.Wall = 200 * time.Millisecond
	require.Equal(t, jobs.Timeout, python("import time; time.sleep(60)", l).Outcome)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b, err := tree.Run(t.Context(), TreeSpec{Limits: treeLimits(), Argv: []string{"/usr/bin/python3", "-c", "import time; time.sleep(60)"}})
	require.NoError(t, err)
	require.Equal(t, jobs.Killed, b.Wait(ctx, time.Minute).Outcome)
	b.Close()
}
