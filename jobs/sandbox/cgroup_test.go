package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/machine"
)

func TestParseCgroupTrees(t *testing.T) {
	for _, tc := range []struct {
		name, cgroup, mounts string
		want                 map[string]cgroupTree
	}{
		{
			"v2", "0::/user.slice/a.scope\n",
			"30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
			map[string]cgroupTree{"": {"/sys/fs/cgroup", "/user.slice/a.scope"}},
		},
		{
			"hybrid", "4:memory:/job\n8:pids:/\n9:name=systemd:/x\n0::/u\n",
			"35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
				"39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n" +
				"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			map[string]cgroupTree{
				"memory": {"/sys/fs/cgroup/memory", "/job"}, "pids": {"/sys/fs/cgroup/pids", "/"}, "": {"/sys/fs/cgroup/unified", "/u"},
			},
		},
		{
			"v1 with joint controllers", "2:cpu,cpuacct:/a\n3:memory:/a\n",
			"1 2 0:1 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n1 2 0:1 / /cg/mem\\040ory rw - cgroup cgroup rw,memory\n",
			map[string]cgroupTree{"cpu": {"/cg/cpu,cpuacct", "/a"}, "cpuacct": {"/cg/cpu,cpuacct", "/a"}, "memory": {"/cg/mem ory", "/a"}},
		},
		{
			"a bind mount of a part", "3:memory:/docker/abc/job\n4:pids:/docker/abcdef\n",
			"1 2 0:1 /docker/abc /cg/memory ro - cgroup cgroup rw,memory\n1 2 0:1 /docker/abc /cg/pids ro - cgroup cgroup rw,pids\n",
			map[string]cgroupTree{"memory": {"/cg/memory", "/job"}},
		},
		{
			"the leaf that an earlier worker moved us to", "0::/scope/" + dirPrefix + "12-34" + leafSuffix + "\n",
			"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
			map[string]cgroupTree{"": {"/sys/fs/cgroup", "/scope"}},
		},
		{"nothing", "", "", map[string]cgroupTree{}},
		{"nonsense", "::\nx\n1:2\n", "a - b\n - \n1 2 3 4 5 - cgroup\n", map[string]cgroupTree{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseCgroupTrees(strings.NewReader(tc.cgroup), strings.NewReader(tc.mounts))
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
}

func FuzzParseCgroupTrees(f *testing.F) {
	f.Add("0::/a\n4:memory:/b\n", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
	f.Fuzz(func(t *testing.T, cgroup, mounts string) {
		trees, err := parseCgroupTrees(strings.NewReader(cgroup), strings.NewReader(mounts))
		if err != nil {
			return
		}
		for ctl, tr := range trees {
			require.True(t, tr.own == "" || tr.own[0] == '/', "%q: %+v", ctl, tr)
		}
	})
}

// fakeV2 is a directory that looks like a delegated cgroup2 tree; the kernel's
// own files are ordinary ones here.
func TestOpenV2PreparesADelegatedTree(t *testing.T) {
	own := t.TempDir()
	put := func(name, v string) {
		require.NoError(t, os.WriteFile(filepath.Join(own, name), []byte(v), 0o644))
	}
	put("cgroup.controllers", "cpu memory pids\n")
	put("cgroup.subtree_control", "")
	c := &cgroups{v1: map[string]string{}}
	require.NoError(t, c.openV2(own, "worker"))
	require.True(t, c.v2Full)
	b, err := os.ReadFile(filepath.Join(own, "cgroup.subtree_control"))
	require.NoError(t, err)
	require.Equal(t, "+memory +pids", string(b))

	put("cgroup.controllers", "cpu memory\n") // no pids: such a tree only kills
	c = &cgroups{v1: map[string]string{}}
	require.NoError(t, c.openV2(own, "worker"))
	require.False(t, c.v2Full)
}

func TestOOMCount(t *testing.T) {
	for text, want := range map[string]int64{
		"low 0\nhigh 0\nmax 3\noom 2\noom_kill 7\noom_group_kill 1\n": 7,
		"oom_kill_disable 0\nunder_oom 0\noom_kill 12\n":              12,
		"": 0, "oom_kill x\n": 0,
	} {
		p := filepath.Join(t.TempDir(), "events")
		require.NoError(t, os.WriteFile(p, []byte(text), 0o644))
		f, err := os.Open(p)
		require.NoError(t, err)
		require.Equal(t, want, (&slotCgroup{memOOM: f}).oomCount())
		f.Close()
	}
}

// A sweep removes what a dead worker left, and nothing else.
func TestSweep(t *testing.T) {
	base := t.TempDir()
	mine := dirPrefix + strconv.Itoa(os.Getpid()) + "-" + startTime(os.Getpid())
	gone := dirPrefix + "4194304-1"
	reused := dirPrefix + strconv.Itoa(os.Getpid()) + "-1" // our pid, an earlier process
	kept := []string{mine, mine + "-77", "other", dirPrefix + "x", dirPrefix, dirPrefix + "1"}
	for _, d := range append([]string{gone, reused}, kept...) {
		require.NoError(t, os.MkdirAll(filepath.Join(base, d, "root"), 0o755))
	}
	full := dirPrefix + "4194304-2"
	require.NoError(t, os.MkdirAll(filepath.Join(base, full, "root", "precious"), 0o755))
	(&Host{}).sweepDirs(base)
	for _, d := range []string{gone, reused} {
		require.NoDirExists(t, filepath.Join(base, d))
	}
	for _, d := range append(kept, full) {
		require.DirExists(t, filepath.Join(base, d))
	}
}

func TestSweepRemovesAbandonedCgroups(t *testing.T) {
	machine.Root(t)
	trees, err := cgroupTrees()
	require.NoError(t, err)
	var dirs []string
	for _, tr := range trees {
		d := filepath.Join(tr.mount, tr.own, dirPrefix+"4194304-7")
		if os.Mkdir(d, 0o755) == nil {
			require.NoError(t, os.Mkdir(filepath.Join(d, "slot-0"), 0o755))
			dirs = append(dirs, d)
		}
	}
	require.NotEmpty(t, dirs)
	(&Host{}).sweepCgroups()
	for _, d := range dirs {
		require.NoDirExists(t, d)
	}
}

func TestLayersFollowTheTier(t *testing.T) {
	on := func(h *Host) map[string]bool {
		m := map[string]bool{}
		for _, l := range h.Layers() {
			require.NotEmpty(t, l.Remedy, l.Name)
			m[l.Name] = l.On
		}
		return m
	}
	bare := &Host{tier: TierReduced}
	for name, v := range on(bare) {
		require.False(t, v, name)
	}
	full := &Host{tier: TierRoot, cg: &cgroups{v2: "/x"}}
	full.walls.Landlock = newLandlockPolicy(7)
	for name, v := range on(full) {
		require.True(t, v, name)
	}
}

// needKill skips what is about cgroup.kill where the inner run has none; root has it.
func needKill(t *testing.T, b *Box) {
	t.Helper()
	if b.slot.cg == nil || b.slot.cg.kill == nil {
		require.NotEmpty(t, os.Getenv(innerTier), "no cgroup.kill as root")
		t.Skip("no cgroup2 here")
	}
}

// A slot whose cgroup was killed as a whole serves again: see renew.
func TestASlotServesAfterItsCgroupWasKilled(t *testing.T) {
	h := newHost(t, 1)
	z := newEcho(t, h)
	for range 3 {
		b := spawn(t, z)
		needKill(t, b)
		b.slot.cg.killAll()
		require.True(t, b.slot.cg.killed)
		require.Eventually(t, func() bool { return !b.Alive() }, 30*time.Second, time.Millisecond)
		b.Close()
	}
	spawn(t, z)
}

// One in which something does not die is out of use until it does.
func TestASlotComesBackWhenWhatWasKilledInItIsGone(t *testing.T) {
	h := newHost(t, 1)
	z := newEcho(t, h)
	b := spawn(t, z)
	needKill(t, b)
	b.slot.cg.killAll()
	undead := exec.Command("sleep", "600")
	require.NoError(t, undead.Start())
	t.Cleanup(func() { undead.Process.Kill(); undead.Wait() })
	require.NoError(t, os.WriteFile(filepath.Join(b.slot.cg.into.Name(), "cgroup.procs"), fmt.Append(nil, undead.Process.Pid), 0))
	b.Close()
	slots := func(free, quarantined int) func() bool {
		return func() bool {
			_, f, q := h.Slots()
			return f == free && q == quarantined
		}
	}
	require.Eventually(t, slots(0, 1), 30*time.Second, 10*time.Millisecond)
	require.NoError(t, undead.Process.Kill())
	_ = undead.Wait()
	require.Eventually(t, slots(1, 0), 30*time.Second, 10*time.Millisecond)
	spawn(t, z)
}
