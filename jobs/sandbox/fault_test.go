package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/test/machine"
)

// deny makes one system call answer an error for this whole process and what it
// starts; with a mask, only where its first argument has a bit of it.
func deny(spec string) error {
	var nr, errno, mask uint32
	if n, err := fmt.Sscan(spec, &nr, &errno, &mask); n < 2 {
		return err
	}
	v := fail(unix.Errno(errno))
	if mask != 0 {
		v = argAny(0, mask, v, allow())
	}
	prog, err := assemble(auditArch, map[uint32]verdict{nr: v}, allow())
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 { // the kernel's condition for a filter of anybody else's
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	fprog := unix.SockFprog{Len: uint16(len(prog) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&prog[0]))}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fprog)))
	if e != 0 {
		return e
	}
	return nil
}

// TestInnerSandboxes is what TestEveryStepFailsClosed runs under a filter: it
// tries both ways to a sandbox and reports how each went.
func TestInnerSandboxes(t *testing.T) {
	if os.Getenv(innerDeny) == "" {
		t.Skip("this is the outer run")
	}
	h, err := Open(Config{Slots: 2, Dir: t.TempDir(), Tier: Tier(os.Getenv(innerTier)), Cgroup: os.Getenv(innerCgroup)})
	if err != nil {
		fmt.Printf("open: %v\n", err)
		return
	}
	defer h.Close()
	fmt.Printf("tier: %s\n", h.Tier())
	for _, l := range h.Layers() {
		if !l.On {
			fmt.Printf("off: %s\n", l.Name)
		}
	}
	fmt.Printf("fork: %s\n", oneFork(t, h))
	fmt.Printf("exec: %s\n", oneExec(t, h))
}

// aCourse is a directory to mount, as the pool opens them.
func aCourse(t *testing.T) ([]Mount, error) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := os.Mkdir(dir.Name()+"/q", 0o755); err != nil {
		return nil, err
	}
	q, err := OpenBeneath(dir, "q")
	return []Mount{{Dir: q, Target: "questions/q"}}, err
}

func oneFork(t *testing.T, h *Host) string {
	course, err := aCourse(t)
	if err != nil {
		return err.Error()
	}
	z, err := h.StartZygote(context.Background(), echoConfig())
	if err != nil {
		return err.Error()
	}
	defer z.Close()
	b, err := z.Spawn(context.Background(), Spec{Limits: testLimits, Mounts: course})
	if err != nil {
		return err.Error()
	}
	defer b.Close()
	if r := b.Turn(context.Background(), nil, testLimits.Wall); r.Outcome != jobs.OK {
		return fmt.Sprintf("not ready: %s %s", r.Message, r.Stderr)
	}
	return "ran"
}

func oneExec(t *testing.T, h *Host) string {
	course, err := aCourse(t)
	if err != nil {
		return err.Error()
	}
	b, err := h.Exec(context.Background(), Spec{Limits: testLimits, Mounts: course}, Command{Root: HostRoot(), Argv: []string{"/bin/echo", "ran"}})
	if err != nil {
		return err.Error()
	}
	defer b.Close()
	r := b.Wait(context.Background(), testLimits.Wall)
	return strings.TrimSpace(string(r.Stdout)) + string(r.Stderr)
}

// A fault is a system call that the kernel does not have, or refuses. Where lives
// names a way to a sandbox ("fork", "exec", "fork exec"), that way does not need
// the call; where off names a layer, both ways live without it and the Host says so.
type fault struct {
	name   string
	nr     uint32
	errno  unix.Errno
	off    string
	root   string // the ways that live in tier root
	userns string // and in tier userns
}

var faults = []fault{
	{"nothing", 1023, unix.ENOSYS, "", "fork exec", "fork exec"},
	{"landlock_create_ruleset", unix.SYS_LANDLOCK_CREATE_RULESET, unix.ENOSYS, "landlock", "", ""},
	{"landlock_create_ruleset", unix.SYS_LANDLOCK_CREATE_RULESET, unix.EOPNOTSUPP, "landlock", "", ""},
	{"landlock_add_rule", unix.SYS_LANDLOCK_ADD_RULE, unix.ENOSYS, "", "", ""},
	{"landlock_restrict_self", unix.SYS_LANDLOCK_RESTRICT_SELF, unix.EPERM, "", "", ""},
	{"seccomp", unix.SYS_SECCOMP, unix.ENOSYS, "", "", ""},
	{"unshare", unix.SYS_UNSHARE, unix.EPERM, "", "", ""},
	{"setns", unix.SYS_SETNS, unix.EPERM, "", "", "exec"}, // a program is born in a network of its own
	{"clone3", unix.SYS_CLONE3, unix.ENOSYS, "", "", ""},  // Go needs it for CLONE_INTO_CGROUP
	{"mount", unix.SYS_MOUNT, unix.EPERM, "", "", ""},
	{"umount2", unix.SYS_UMOUNT2, unix.EPERM, "", "", ""},
	{"pivot_root", unix.SYS_PIVOT_ROOT, unix.EPERM, "", "", ""},
	{"open_tree", unix.SYS_OPEN_TREE, unix.ENOSYS, "", "", ""},
	{"move_mount", unix.SYS_MOVE_MOUNT, unix.ENOSYS, "", "", ""},
	{"mount_setattr", unix.SYS_MOUNT_SETATTR, unix.ENOSYS, "", "", ""},
	{"openat2", unix.SYS_OPENAT2, unix.ENOSYS, "", "", ""},
	{"memfd_create", unix.SYS_MEMFD_CREATE, unix.ENOSYS, "", "fork", "fork"}, // a program's input lies in one
	{"sethostname", unix.SYS_SETHOSTNAME, unix.EPERM, "", "", ""},
	{"capset", unix.SYS_CAPSET, unix.EPERM, "", "", ""},
	{"setgroups", unix.SYS_SETGROUPS, unix.EPERM, "", "", "fork exec"}, // a leaf namespace has one id
	{"setresgid", unix.SYS_SETRESGID, unix.EPERM, "", "", "fork exec"}, // a leaf namespace has one id
	{"setresuid", unix.SYS_SETRESUID, unix.EPERM, "", "", "fork exec"}, // a leaf namespace has one id
	{"prctl", unix.SYS_PRCTL, unix.EPERM, "", "", ""},
	{"prlimit64", unix.SYS_PRLIMIT64, unix.EPERM, "", "", ""},
	{"setsid", unix.SYS_SETSID, unix.EPERM, "", "", ""},
	{"close_range", unix.SYS_CLOSE_RANGE, unix.ENOSYS, "", "fork", "fork"}, // Python closes one by one
	{"pidfd_open", unix.SYS_PIDFD_OPEN, unix.ENOSYS, "", "", ""},
	{"pidfd_send_signal", unix.SYS_PIDFD_SEND_SIGNAL, unix.EPERM, "", "", ""},
	{"mkdirat", unix.SYS_MKDIRAT, unix.EROFS, "", "", ""},
}

// judge compares what an inner run reported with what had to come of it.
func (f fault) judge(t *testing.T, out, lives string) {
	t.Helper()
	t.Log(out)
	for _, way := range []string{"fork", "exec"} {
		if f.off != "" || strings.Contains(lives, way) {
			require.Contains(t, out, way+": ran\n")
		} else {
			require.NotContains(t, out, way+": ran\n")
		}
	}
	if f.off != "" {
		require.Contains(t, out, "off: "+f.off+"\n")
	} else {
		require.NotContains(t, out, "off: landlock\n")
	}
}

// Every system call that builds a wall is made to fail: no sandbox may then come
// into being, or the layer that is left out must be named.
func TestEveryStepFailsClosed(t *testing.T) {
	machine.Root(t)
	if os.Getenv(innerTier) != "" {
		t.Skip("this is the inner run")
	}
	for _, f := range faults {
		spec := fmt.Sprintf("%s=%d %d", innerDeny, f.nr, f.errno)
		name := fmt.Sprintf("%s %v", f.name, unix.ErrnoName(f.errno))
		t.Run("root/"+name, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe", "-test.run", "^TestInnerSandboxes$")
			cmd.Env = append(os.Environ(), spec)
			out, _ := cmd.CombinedOutput() // the run itself may need the call; then nothing ran at all
			f.judge(t, string(out), f.root)
		})
		t.Run("userns/"+name, func(t *testing.T) {
			path, v2 := delegate(t)
			out, _ := asStranger(t, TierUserns, path, v2, "^TestInnerSandboxes$", spec)
			f.judge(t, out, f.userns)
		})
	}
}
