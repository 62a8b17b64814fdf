package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
)

// deny makes one system call answer an error for this whole process and what it starts.
func deny(spec string) error {
	var nr, errno uint32
	if _, err := fmt.Sscan(spec, &nr, &errno); err != nil {
		return err
	}
	prog, err := assemble(auditArch, map[uint32]verdict{nr: fail(unix.Errno(errno))}, allow())
	if err != nil {
		return err
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
	h, err := Open(Config{Slots: 2, Dir: t.TempDir()})
	if err != nil {
		fmt.Printf("open: %v\n", err)
		return
	}
	defer h.Close()
	for _, l := range h.Layers() {
		if !l.On {
			fmt.Printf("off: %s\n", l.Name)
		}
	}
	fmt.Printf("fork: %s\n", oneFork(h))
	fmt.Printf("exec: %s\n", oneExec(h))
}

func oneFork(h *Host) string {
	z, err := h.StartZygote(context.Background(), echoConfig())
	if err != nil {
		return err.Error()
	}
	defer z.Close()
	b, err := z.Spawn(context.Background(), Spec{Limits: testLimits})
	if err != nil {
		return err.Error()
	}
	defer b.Close()
	if r := b.Turn(context.Background(), nil, 5*time.Second); r.Outcome != jobs.OK {
		return fmt.Sprintf("not ready: %s %s", r.Message, r.Stderr)
	}
	return "ran"
}

func oneExec(h *Host) string {
	b, err := h.Exec(context.Background(), Spec{Limits: testLimits}, Command{Root: HostRoot(), Argv: []string{"/bin/echo", "ran"}})
	if err != nil {
		return err.Error()
	}
	defer b.Close()
	r := b.Wait(context.Background(), 5*time.Second)
	return strings.TrimSpace(string(r.Stdout)) + string(r.Stderr)
}

// Every system call that builds a wall is made to fail: no sandbox may then come
// into being, or the layer that is left out must be named.
func TestEveryStepFailsClosed(t *testing.T) {
	needRoot(t)
	if os.Getenv(innerTier) != "" {
		t.Skip("the filter of the outer run is enough")
	}
	const refused = "" // both ways fail
	for _, tc := range []struct {
		name  string
		nr    uint32
		errno unix.Errno
		off   string // the layer that is reported missing, and sandboxes run without it
		lives string // "fork" or "exec": the way that does not need this call
	}{
		{"landlock_create_ruleset", unix.SYS_LANDLOCK_CREATE_RULESET, unix.ENOSYS, "landlock", ""},
		{"landlock_create_ruleset", unix.SYS_LANDLOCK_CREATE_RULESET, unix.EOPNOTSUPP, "landlock", ""},
		{"landlock_add_rule", unix.SYS_LANDLOCK_ADD_RULE, unix.ENOSYS, refused, ""},
		{"landlock_restrict_self", unix.SYS_LANDLOCK_RESTRICT_SELF, unix.EPERM, refused, ""},
		{"seccomp", unix.SYS_SECCOMP, unix.ENOSYS, refused, ""},
		{"unshare", unix.SYS_UNSHARE, unix.EPERM, refused, ""},
		{"setns", unix.SYS_SETNS, unix.EPERM, refused, ""},
		{"clone3", unix.SYS_CLONE3, unix.ENOSYS, refused, ""}, // Go needs it for CLONE_INTO_CGROUP
		{"mount", unix.SYS_MOUNT, unix.EPERM, refused, ""},
		{"umount2", unix.SYS_UMOUNT2, unix.EPERM, refused, ""},
		{"pivot_root", unix.SYS_PIVOT_ROOT, unix.EPERM, refused, ""},
		{"open_tree", unix.SYS_OPEN_TREE, unix.ENOSYS, refused, ""},
		{"move_mount", unix.SYS_MOVE_MOUNT, unix.ENOSYS, refused, ""},
		{"mount_setattr", unix.SYS_MOUNT_SETATTR, unix.ENOSYS, refused, ""},
		{"sethostname", unix.SYS_SETHOSTNAME, unix.EPERM, refused, ""},
		{"capset", unix.SYS_CAPSET, unix.EPERM, refused, ""},
		{"setgroups", unix.SYS_SETGROUPS, unix.EPERM, refused, ""},
		{"setresgid", unix.SYS_SETRESGID, unix.EPERM, refused, ""},
		{"setresuid", unix.SYS_SETRESUID, unix.EPERM, refused, ""},
		{"prctl", unix.SYS_PRCTL, unix.EPERM, refused, ""},
		{"prlimit64", unix.SYS_PRLIMIT64, unix.EPERM, refused, ""},
		{"setsid", unix.SYS_SETSID, unix.EPERM, refused, ""},
		{"close_range", unix.SYS_CLOSE_RANGE, unix.ENOSYS, refused, "fork"}, // Python closes one by one
		{"pidfd_open", unix.SYS_PIDFD_OPEN, unix.ENOSYS, refused, ""},
		{"pidfd_send_signal", unix.SYS_PIDFD_SEND_SIGNAL, unix.EPERM, refused, ""},
		{"mkdirat", unix.SYS_MKDIRAT, unix.EROFS, refused, ""},
	} {
		t.Run(fmt.Sprintf("%s %v", tc.name, unix.ErrnoName(tc.errno)), func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe", "-test.run", "^TestInnerSandboxes$")
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", innerDeny, tc.nr, tc.errno))
			b, err := cmd.CombinedOutput()
			out := string(b)
			if strings.Contains(out, "--- FAIL") || err != nil && !strings.Contains(out, "panic: sandbox: return from") {
				// The run itself may need the call; then nothing ran at all.
				require.NotContains(t, out, ": ran\n")
				return
			}
			t.Log(out)
			for _, way := range []string{"fork", "exec"} {
				if tc.off != refused || tc.lives == way {
					require.Contains(t, out, way+": ran\n")
				} else {
					require.NotContains(t, out, way+": ran\n")
				}
			}
			if tc.off != refused {
				require.Contains(t, out, "off: "+tc.off+"\n")
			} else {
				require.NotContains(t, out, "off: landlock\n")
			}
		})
	}
}
