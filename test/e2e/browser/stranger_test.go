package browser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/machine"
)

// stranger makes a user whom nothing on this machine belongs to, until the test has
// ended. It has a name, for fusermount3 asks for one.
func stranger(t *testing.T) *syscall.Credential {
	t.Helper()
	machine.Root(t)
	name := fmt.Sprintf("prairie-author-%d", os.Getpid())
	out, err := exec.Command("useradd", "--system", "--no-create-home", "--user-group", "--shell", "/bin/false", name).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() {
		out, err := exec.Command("userdel", "--force", name).CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
	who, err := user.Lookup(name)
	require.NoError(t, err)
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	require.NoError(t, err)
	require.NotZero(t, uid*gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// asStranger is a dev that a user without root starts, with a cgroup of its own.
func asStranger(t *testing.T) (d *dev, cgroup string) {
	t.Helper()
	who := stranger(t)
	dir, err := os.MkdirTemp("/tmp", "prairie-author-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	d = &dev{
		t: t, dir: filepath.Join(dir, "sample"), cache: filepath.Join(dir, "cache"), binary: filepath.Join(dir, "prairielambda"),
		env: []string{"PATH=/usr/bin:/bin", "TMPDIR=" + dir, "HOME=" + dir}, stderr: &locked{},
		attr: &syscall.SysProcAttr{Credential: who},
	}
	require.NoError(t, course.WriteSample(d.dir))
	copyFile(t, binary, d.binary)
	require.NoError(t, os.Mkdir(d.cache, 0o755))
	require.NoError(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, int(who.Uid), int(who.Gid))
	}))
	cgroup = fmt.Sprintf("/prairie-author-%d", os.Getpid())
	for _, tree := range []string{"memory", "pids", "unified", ""} { // of a hybrid or v1 machine, or the one of v2
		mount := filepath.Join("/sys/fs/cgroup", tree)
		if _, err := os.Stat(filepath.Join(mount, "cgroup.procs")); err != nil {
			continue
		}
		cg := filepath.Join(mount, cgroup)
		require.NoError(t, os.Mkdir(cg, 0o755))
		t.Cleanup(func() { _ = os.Remove(cg) })
		for _, f := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
			_ = os.Chown(filepath.Join(cg, f), int(who.Uid), int(who.Gid)) // not every tree has every file
		}
		if _, err := os.Stat(filepath.Join(cg, "cgroup.controllers")); err == nil {
			f, err := os.Open(cg)
			require.NoError(t, err)
			t.Cleanup(func() { f.Close() })
			d.attr.UseCgroupFD, d.attr.CgroupFD = true, int(f.Fd())
		}
	}
	return d, cgroup
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
}

// fuseForAll gives the device the mode that Debian's udev rule gives it, where no udev runs.
func fuseForAll(t *testing.T) {
	t.Helper()
	st, err := os.Stat("/dev/fuse")
	if err != nil {
		need(t, "/dev/fuse")
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		need(t, "fusermount3 (Debian: fuse3)")
	}
	if st.Mode().Perm()&0o006 != 0o006 {
		require.NoError(t, os.Chmod("/dev/fuse", 0o666))
		t.Cleanup(func() { _ = os.Chmod("/dev/fuse", st.Mode().Perm()) })
	}
}

func TestWithoutRoot(t *testing.T) {
	d, cgroup := asStranger(t)
	fuseForAll(t)
	d.run("--tier", "userns", "--cgroup", cgroup)
	page := d.page("/")
	has(t, page, "<b>userns</b>")
	has(t, d.panel("/question/"+course.Cubic+"?seed=7"), "-(x - 4)*(x - 1)*(x + 1)")
	require.NotContains(t, d.stderr.String(), "No FUSE")
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	require.Contains(t, string(mounts), d.cache, "it is a real mount")
	for range 2 { // the second time for what the first one left
		for _, q := range []string{"shadow", "other-question", "network", "write-course", "environment", "leftovers", "two-answers"} {
			out, err := exec.Command("curl", "-s", d.URL+"/courses/sample/current/process/attacks/"+q, "-d", `{"method":"generate","data":{"variant_seed":1}}`).Output()
			require.NoError(t, err)
			checkAttack(t, d, q, out)
		}
	}
	d.edit("questions/physics/incline/question.html", "rests on a slope", "stands on a hill")
	require.Eventually(t, func() bool {
		return bytes.Contains([]byte(d.panel("/question/physics/incline")), []byte("stands on a hill"))
	}, bound, tick)
	require.NoError(t, d.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-d.ended)
	require.Eventually(t, func() bool { return len(d.left()) == 0 }, bound, tick, "%v", d.left())
}

// checkAttack looks at what one question of the base set got.
func checkAttack(t *testing.T, d *dev, question string, answer []byte) {
	t.Helper()
	var data struct {
		Params struct {
			Got   map[string]any  `json:"got"`
			Found json.RawMessage `json:"found"`
			Who   string          `json:"who"`
		} `json:"params"`
	}
	require.NoError(t, json.Unmarshal(answer, &data), "%s: %s", question, answer)
	switch question {
	case "two-answers":
		require.NotEmpty(t, data.Params.Who, "exactly one answer: %s", answer)
	case "leftovers":
		require.Contains(t, []string{"[]", "{}"}, string(data.Params.Found), "%s", answer)
	case "environment":
		for _, secret := range []string{d.cache, filepath.Dir(d.binary), "XDG_CACHE_HOME"} {
			require.NotContains(t, string(answer), secret)
		}
	default:
		require.Empty(t, data.Params.Got, "%s: %s", question, answer)
	}
}

// The same user tests a course.
func TestTestWithoutRoot(t *testing.T) {
	d, cgroup := asStranger(t)
	fuseForAll(t)
	cmd := exec.Command(d.binary, "test", d.dir, "words", "physics/incline", "--seeds", "3", "--tier", "userns", "--cgroup", cgroup, "--quiet")
	cmd.Env, cmd.SysProcAttr = append(slices.Clone(d.env), "XDG_CACHE_HOME="+d.cache), d.attr
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Regexp(t, `ok +words/planets +100 % +0 % +refused`, string(out))
	require.Contains(t, string(out), "0 failed")
}

// Without FUSE, here because the helper that mounts cannot be found, a course is
// served from copies.
func TestWithoutFUSE(t *testing.T) {
	d, cgroup := asStranger(t)
	d.env[0] = "PATH=/nonexistent"
	d.run("--tier", "userns", "--cgroup", cgroup)
	require.Eventually(t, func() bool { return strings.Contains(d.stderr.String(), "No FUSE here") }, bound, tick)
	has(t, d.panel("/question/"+course.Cubic+"?seed=7"), "-(x - 4)*(x - 1)*(x + 1)")
	d.edit("questions/physics/incline/question.html", "rests on a slope", "stands on a hill")
	require.Eventually(t, func() bool {
		return bytes.Contains([]byte(d.panel("/question/physics/incline")), []byte("stands on a hill"))
	}, bound, tick)
	require.NoError(t, d.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-d.ended)
	runs, err := filepath.Glob(filepath.Join(d.cache, "prairielambda/*/run-*"))
	require.NoError(t, err)
	require.Empty(t, runs)
}
