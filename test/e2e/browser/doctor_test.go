package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/machine"
)

// withoutFUSE is /dev as a plain container has it, below the directory that $1 names.
const withoutFUSE = `mkdir "$1/dev" && mount -t tmpfs none "$1/dev" && mkdir "$1/dev/shm" "$1/dev/pts"
for d in null zero full random urandom tty; do touch "$1/dev/$d" && mount --bind /dev/$d "$1/dev/$d"; done
mount --move "$1/dev" /dev
`

// withoutUserNamespaces makes whoever comes next the guest of another root: the
// kernel lets no such process make a user namespace, as AppArmor and containers do.
const withoutUserNamespaces = `mkdir "$1/root" && mount --rbind / "$1/root" && set -- chroot "$1/root"
`

// underUbuntu has the switch that Ubuntu sets.
const underUbuntu = `mkdir "$1/kernel" && mount -t tmpfs none "$1/kernel" && cp /proc/sys/kernel/cap_last_cap "$1/kernel/"
echo 1 > "$1/kernel/apparmor_restrict_unprivileged_userns" && mount --move "$1/kernel" /proc/sys/kernel
`

// What doctor says on machines that lack something: what it is, and what to do.
func TestDoctor(t *testing.T) {
	machine.Root(t)
	for _, tc := range []struct {
		name   string
		root   bool   // not a user of its own
		lack   string // what a script takes away; it may set what its last line executes
		rights string // of setpriv
		args   []string
		code   int
		says   []string
	}{
		{name: "no cgroup is delegated", code: 1, says: []string{
			"NO    course code runs", "systemd-run --user --scope -p Delegate=yes prairielambda doctor",
		}},
		{name: "reduced was asked for", args: []string{"--tier", "reduced"}, says: []string{
			"less  sandbox tier                         reduced", "less  memory and process limits by cgroup", "ok    course code runs",
		}},
		{name: "AppArmor", lack: underUbuntu + withoutUserNamespaces, args: []string{"--tier", "reduced"}, code: 1, says: []string{
			"less  unprivileged user namespaces         restricted by AppArmor", "doctor --apparmor | sudo tee /etc/apparmor.d/prairielambda", "NO    course code runs",
		}},
		{name: "no FUSE", root: true, lack: withoutFUSE, says: []string{
			"less  FUSE device", "--device /dev/fuse", "less  courses are mounted", "ok    course code runs",
		}},
		{
			name: "a plain container", root: true, lack: withoutFUSE + withoutUserNamespaces, rights: "--bounding-set=-sys_admin --inh-caps=-sys_admin",
			code: 1, says: []string{"less  FUSE device", "NO    course code runs", "docker run --privileged --cgroupns=private"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("/tmp", "prairie-doctor-")
			require.NoError(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			bin := filepath.Join(dir, "prairielambda")
			copyFile(t, binary, bin)
			who := ""
			if !tc.root {
				user := stranger(t)
				fuseForAll(t)
				who = fmt.Sprintf("--reuid=%d --regid=%d --clear-groups", user.Uid, user.Gid)
				require.NoError(t, os.Chown(dir, int(user.Uid), int(user.Gid)))
			}
			script := "set -e\n" + "dir=$1\n" + tc.lack +
				`[ "$1" != "$dir" ] || shift` + "\n" +
				`exec "$@" setpriv ` + who + " " + tc.rights + " " + bin + " doctor " + strings.Join(tc.args, " ") + "\n"
			cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", dir)
			cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "TMPDIR=" + dir, "XDG_CACHE_HOME=" + filepath.Join(dir, "cache")}
			out, _ := cmd.CombinedOutput()
			require.Equal(t, tc.code, cmd.ProcessState.ExitCode(), "%s", out)
			for _, left := range []string{"cache/prairielambda/*", "prairielambda-doctor-*"} {
				found, err := filepath.Glob(filepath.Join(dir, left))
				require.NoError(t, err)
				require.Empty(t, found, "it leaves nothing")
			}
			for _, s := range tc.says {
				require.Contains(t, string(out), s)
			}
		})
	}
}

// A user without root whose systemd gives scopes is asked for nothing: the program
// starts itself again in one, once. The systemd-run here writes down what it is
// asked and gives no cgroup, so that the second start says what it lacks.
func TestAScopeIsAskedForOnce(t *testing.T) {
	who := stranger(t)
	dir, err := os.MkdirTemp("/tmp", "prairie-scope-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	bin, asked := filepath.Join(dir, "prairielambda"), filepath.Join(dir, "asked")
	copyFile(t, binary, bin)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "systemd-run"), []byte("#!/bin/sh\necho \"$@\" >> "+asked+"\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n"), 0o755))
	require.NoError(t, course.WriteSample(filepath.Join(dir, "sample")))
	require.NoError(t, os.Chown(dir, int(who.Uid), int(who.Gid)))
	cmd := exec.Command(bin, "test", filepath.Join(dir, "sample"), "words")
	cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir, "XDG_CACHE_HOME=" + filepath.Join(dir, "cache")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "systemd-run --user --scope -p Delegate=yes")
	log, err := os.ReadFile(asked)
	require.NoError(t, err)
	const scope = "--user --scope --quiet --collect -p Delegate=yes -- "
	require.Equal(t, scope+"true\n"+scope+strings.Join(cmd.Args, " ")+"\n", string(log))
}
