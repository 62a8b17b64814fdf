package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Sandboxes use a fixed set of slot cgroups whose limits are set anew for each
// use. One cgroup a sandbox would leak: a removed cgroup lives on for as long as
// a page that it was charged for stays cached.

// cgroups is the worker's own corner of the machine's cgroup trees.
type cgroups struct {
	v2     string            // our directory in the cgroup2 tree, or ""
	v2Full bool              // memory and pids are controllers of the cgroup2 tree
	v1     map[string]string // controller -> our directory in its own tree
}

// slotControllers are the limits a slot must have.
var slotControllers = []string{"memory", "pids"}

// openCgroups makes a directory called name below this process's own cgroup, or
// below root when that is given (an absolute path inside every tree).
func openCgroups(name, root string) (*cgroups, error) {
	trees, err := cgroupTrees()
	if err != nil {
		return nil, err
	}
	c := &cgroups{v1: map[string]string{}}
	for _, ctl := range slotControllers {
		t, ok := trees[ctl]
		if !ok {
			continue
		}
		if root != "" {
			t.own = root
		}
		dir := filepath.Join(t.mount, t.own, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			c.remove()
			return nil, fmt.Errorf("make cgroup: %w", err)
		}
		c.v1[ctl] = dir
	}
	if t, ok := trees[""]; ok {
		lives := t.own
		if root != "" {
			t.own = root
		}
		err := mayMoveBetween(t.mount, lives, t.own)
		if err == nil {
			err = c.openV2(filepath.Join(t.mount, t.own), name)
		}
		if err != nil && len(c.v1) < len(slotControllers) {
			c.remove()
			return nil, err
		}
	}
	if len(c.v1) < len(slotControllers) && !c.v2Full {
		c.remove()
		return nil, errors.New("no cgroup tree has both memory and pids controllers that we may use")
	}
	return c, nil
}

// mayMoveBetween says whether a process of ours can be put from one cgroup2 into
// another: the kernel asks for write access to their common ancestor.
func mayMoveBetween(mount, from, to string) error {
	a, b := strings.Split(filepath.Clean(from), "/"), strings.Split(filepath.Clean(to), "/")
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	procs := filepath.Join(mount, strings.Join(a[:n], "/"), "cgroup.procs")
	if err := unix.Access(procs, unix.W_OK); err != nil {
		return fmt.Errorf("move processes from cgroup %s to %s: %w", from, to, &os.PathError{Op: "write", Path: procs, Err: err})
	}
	return nil
}

// openV2 prepares our directory in the cgroup2 tree. A cgroup that holds
// processes cannot hand limits to children, so those processes move to a leaf first.
func (c *cgroups) openV2(own, name string) error {
	have, err := os.ReadFile(filepath.Join(own, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("read cgroup: %w", err)
	}
	full := true
	for _, ctl := range slotControllers {
		full = full && strings.Contains(" "+strings.TrimSpace(string(have))+" ", " "+ctl+" ")
	}
	dir := filepath.Join(own, name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make cgroup: %w", err)
	}
	c.v2 = dir
	if !full || len(c.v1) == len(slotControllers) {
		return nil // hybrid: limits stand in the v1 trees, this one gives cgroup.kill
	}
	const enable = "+memory +pids"
	if os.WriteFile(filepath.Join(own, "cgroup.subtree_control"), []byte(enable), 0) != nil {
		leaf := filepath.Join(own, name+leafSuffix)
		if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("make cgroup: %w", err)
		}
		if err := moveAll(own, leaf); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(own, "cgroup.subtree_control"), []byte(enable), 0); err != nil {
			return fmt.Errorf("delegate cgroup controllers: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(enable), 0); err != nil {
		return fmt.Errorf("delegate cgroup controllers: %w", err)
	}
	c.v2Full = true
	return nil
}

func moveAll(from, to string) error {
	b, err := os.ReadFile(filepath.Join(from, "cgroup.procs"))
	if err != nil {
		return fmt.Errorf("read cgroup: %w", err)
	}
	for _, pid := range strings.Fields(string(b)) {
		err := os.WriteFile(filepath.Join(to, "cgroup.procs"), []byte(pid), 0)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("move process %s to a cgroup leaf: %w", pid, err)
		}
	}
	return nil
}

// remove takes our directories away; whatever still lives in them is killed first.
func (c *cgroups) remove() {
	dirs := make([]string, 0, len(c.v1)+1)
	for _, d := range c.v1 {
		dirs = append(dirs, d)
	}
	if c.v2 != "" {
		dirs = append(dirs, c.v2)
	}
	for _, d := range dirs {
		removeCgroup(d)
	}
}

// leafSuffix ends the name of the leaf that the processes moved to which were in
// our cgroup before us. They are not ours to kill, now or in a later sweep.
const leafSuffix = "-daemon"

func removeCgroup(dir string) {
	if strings.HasSuffix(dir, leafSuffix) {
		_ = os.Remove(dir) // goes when it is empty
		return
	}
	sub, _ := filepath.Glob(filepath.Join(dir, "*", "cgroup.procs"))
	for _, procs := range append(sub, filepath.Join(dir, "cgroup.procs")) {
		for try := 0; try < 20; try++ { // the killed take a moment to leave
			killProcs(procs)
			if err := os.Remove(filepath.Dir(procs)); !errors.Is(err, unix.EBUSY) {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func killProcs(procs string) {
	b, _ := os.ReadFile(procs)
	for _, f := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 1 && pid != os.Getpid() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

type cgroupTree struct {
	mount string // where the tree is mounted
	own   string // this process's cgroup in it
}

// cgroupTrees finds the mounted trees by controller; "" is the cgroup2 tree.
func cgroupTrees() (map[string]cgroupTree, error) {
	own, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	defer own.Close()
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer mounts.Close()
	return parseCgroupTrees(own, mounts)
}

// parseCgroupTrees reads the forms of /proc/self/cgroup and /proc/self/mountinfo.
func parseCgroupTrees(cgroup, mountinfo io.Reader) (map[string]cgroupTree, error) {
	own := map[string]string{}
	err := eachLine(cgroup, func(l string) {
		f := strings.SplitN(l, ":", 3)
		if len(f) != 3 || !strings.HasPrefix(f[2], "/") {
			return
		}
		path := f[2]
		// A worker that ran here before moved us to a leaf; its parent is ours.
		if base := filepath.Base(path); strings.HasPrefix(base, dirPrefix) && strings.HasSuffix(base, leafSuffix) {
			path = filepath.Dir(path)
		}
		for _, ctl := range strings.Split(f[1], ",") {
			own[ctl] = path
		}
	})
	if err != nil {
		return nil, err
	}
	trees := map[string]cgroupTree{}
	err = eachLine(mountinfo, func(l string) {
		head, tail, ok := strings.Cut(l, " - ")
		h, t := strings.Fields(head), strings.Fields(tail)
		if !ok || len(h) < 5 || len(t) < 3 {
			return
		}
		mount, root := unescape(h[4]), strings.TrimSuffix(unescape(h[3]), "/")
		add := func(ctl string) {
			// Inside a cgroup namespace or a bind mount, the path starts at the mount's root.
			path, ok := own[ctl]
			below, isBelow := strings.CutPrefix(path, root)
			if ok && isBelow && (below == "" || below[0] == '/') {
				trees[ctl] = cgroupTree{mount, below}
			}
		}
		switch t[0] {
		case "cgroup2":
			add("")
		case "cgroup":
			for _, opt := range strings.Split(t[2], ",") {
				add(opt)
			}
		}
	})
	return trees, err
}

// unescape reads the octal escapes of mountinfo.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func eachLine(r io.Reader, f func(string)) error {
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		f(sc.Text())
	}
	return sc.Err()
}
