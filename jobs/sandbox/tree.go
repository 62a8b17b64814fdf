package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
)

// Tree is a root filesystem in the making: a directory that stays as it is, and
// over it, in memory and bounded, what the programs that Run starts change. It
// lies where a Scratch does, nowhere on the host, and ends as one does.
//
// Programs in it are root of a user namespace of their own, so that they may own
// and change whatever is in the tree, and nothing outside is theirs.
type Tree struct {
	host  *Host
	dir   string   // as the scratch thread sees it
	idmap *os.File // a user namespace with the map of every Run
	delta *os.File
	bare  bool // there is no lower directory: the tree is shown at /work
}

// TreeBaseID is who root of a Tree is outside of it, the first of a range that no
// system gives to users. The ranges of slots follow it; see ExecAsRoot.
const TreeBaseID = 0x70000000

// NewTree makes one of the directory lower, which nobody may change meanwhile;
// without one it is empty, and programs see it at /work under the host's own
// installed ones. It holds at most size bytes besides. It takes tier root and a
// kernel that maps the owners of mounts (Linux 5.19).
func (h *Host) NewTree(lower string, size int64) (t *Tree, err error) {
	if h.tier != TierRoot {
		return nil, fmt.Errorf("make a tree: tier %s cannot own files of several users; run as root", h.tier)
	}
	t = &Tree{host: h, bare: lower == "", dir: filepath.Join(h.dir, "root", strconv.FormatInt(h.scratches.Add(1), 10))}
	if t.idmap, err = h.mapIDs(); err != nil {
		return nil, fmt.Errorf("make a tree: %w", err)
	}
	err = h.scratch.do(func() error { return t.mount(lower, size) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a tree: %w", err), t.Close())
	}
	return t, nil
}

func (t *Tree) mount(lower string, size int64) error {
	if err := os.Mkdir(t.dir, 0o700); err != nil {
		return err
	}
	opt := "mode=0755,nr_inodes=1000000,size=" + strconv.FormatInt(size, 10)
	if err := unix.Mount("tmpfs", t.dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, opt); err != nil {
		return err
	}
	for _, d := range []string{"memory", "lower", "root", "memory/upper", "memory/work"} {
		if err := os.Mkdir(filepath.Join(t.dir, d), 0o755); err != nil {
			return err
		}
	}
	upper := filepath.Join(t.dir, "memory/upper")
	if err := os.Chown(upper, TreeBaseID, TreeBaseID); err != nil {
		return err
	}
	var err error
	if t.delta, err = os.Open(upper); err != nil {
		return err
	}
	if t.bare {
		return nil
	}
	if err := t.attach(lower, t.dir+"/lower"); err != nil {
		return fmt.Errorf("map the owners of %s: %w", lower, err)
	}
	opt = "index=off,metacopy=off,redirect_dir=off,xino=off,lowerdir=" + t.dir + "/lower,upperdir=" + t.dir + "/memory/upper,workdir=" + t.dir + "/memory/work"
	return unix.Mount("overlay", t.dir+"/root", "overlay", unix.MS_NOSUID|unix.MS_NODEV, opt)
}

// attach shows from at to, read-only and inert, with the owners mapped.
func (t *Tree) attach(from, to string) error {
	fd, err := openTree(unix.AT_FDCWD, from, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	set := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_IDMAP | unix.MOUNT_ATTR_RDONLY, Userns_fd: uint64(t.idmap.Fd())}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, set); err != nil {
		return err
	}
	return unix.MoveMount(fd, "", unix.AT_FDCWD, to, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// mapIDs is a user namespace with the ids of a Tree's programs. Its only process
// waits for a configuration that never comes.
func (h *Host) mapIDs() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"prairielambda", stageArg}, Env: []string{}, Dir: "/", ExtraFiles: []*os.File{r}}
	cmd.SysProcAttr = usersAttr(TreeBaseID)
	h.forking.RLock()
	err = h.spawner.do(cmd.Start)
	if err == nil {
		h.remember(cmd.Process.Pid)
	}
	h.forking.RUnlock()
	r.Close()
	if err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	defer h.end(cmd)
	return os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
}

// TreeSpec is one program to run in a Tree.
type TreeSpec struct {
	Limits jobs.Limits // every field set; Memory counts the tree's, too; Files is what /tmp may hold
	Argv   []string
	Env    []string
	Files  map[string][]byte   // shown below /build, by plain name
	Show   map[string]*os.File // directories shown read-only below /build, by plain name
	Hidden []string            // directories that exist, empty and in memory, while the program runs
	Mounts bool                // it may mount in its own namespace: only for programs that are trusted

	// Serve gets the only address that the program can reach, 127.0.0.1:TreePort,
	// before the program is there. Nil leaves it without any.
	Serve  func(net.Listener)
	Output func(stderr bool, piece []byte) // as in Spec
}

// TreePort is where a Tree's programs find what Serve serves.
const TreePort = 3128

// Run starts a program as the tree's root. Wait collects its output and its end;
// whatever it left running ends with it.
func (t *Tree) Run(ctx context.Context, spec TreeSpec) (*Box, error) {
	h := t.host
	b, ends, err := h.newBox(ctx, spec.Limits)
	if err != nil {
		return nil, err
	}
	defer ends.close()
	unix.Close(b.conn)
	b.conn, b.told = -1, spec.Output
	s := &treeSeal{
		Files: spec.Files, Hidden: spec.Hidden, Tmp: spec.Limits.Files, LastCap: h.walls.LastCap, Mounts: spec.Mounts,
		Rlimits: append([]rlimit{{unix.RLIMIT_CPU, cpuSeconds(spec.Limits.CPU)}}, treeRlimits...),
	}
	if s.Filter, err = treeFilter(spec.Mounts); err != nil {
		b.Close()
		return nil, err
	}
	if t.bare {
		root := HostRoot()
		root.Dirs = append(root.Dirs, workDir, buildDir)
		root.Binds = append(root.Binds, "/etc/apt/trusted.gpg.d", "/etc/dpkg", "/etc/perl", "/etc/ssl/certs")
		s.Host = &root
	}
	files, err := t.clones(spec.Show, s)
	if err != nil {
		b.Close()
		return nil, err
	}
	defer func() { closeAll(files) }()
	if err := b.becomeRoot(ctx, TreeBaseID, s, stageConfig{Argv: spec.Argv, Env: spec.Env}, spec.Serve, ends, files); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// becomeRoot starts a program in the box's slot as root of the ids from base on, in
// namespaces of its own. files are what s wants after the cgroups.
func (b *Box) becomeRoot(ctx context.Context, base int, s *treeSeal, c stageConfig, serve func(net.Listener), ends childEnds, files []*os.File) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	pidfd := -1
	attr := usersAttr(base)
	attr.PidFD = &pidfd
	attr.Cloneflags |= syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET
	program := []*os.File{null, ends.stdout, ends.stderr}
	if cg := b.slot.cg; cg != nil {
		s.Attach, program = len(cg.attach), append(program, cg.attach...)
		if cg.into != nil {
			attr.UseCgroupFD, attr.CgroupFD = true, int(cg.into.Fd())
		}
	}
	if b.stage, err = b.host.startStage(nil, attr, [3]*os.File{}, nil); err != nil {
		return err
	}
	if serve != nil {
		ln, err := listenIn(b.stage.cmd.Process.Pid)
		if err != nil {
			return err
		}
		serve(ln)
	}
	c.Tree = s
	return b.become(ctx, c, append(program, files...))
}

// clones are the mounts that a program gets: its root, then what it is shown.
func (t *Tree) clones(show map[string]*os.File, s *treeSeal) (files []*os.File, err error) {
	for name := range show {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return nil, fmt.Errorf("show %q: want a plain name", name)
		}
		s.Show = append(s.Show, name)
	}
	err = t.host.scratch.do(func() error {
		from := t.dir + "/root"
		if t.bare {
			from = t.dir + "/memory/upper"
		}
		fd, err := openTree(unix.AT_FDCWD, from, 0)
		if err != nil {
			return err
		}
		files = append(files, os.NewFile(uintptr(fd), from))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("run in a tree: %w", err)
	}
	for _, name := range s.Show {
		f, err := Mount{Dir: show[name], Target: name}.detach()
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// Delta is the directory of what was changed, with TreeBaseID added to every
// owner. As overlayfs writes it, a character device 0:0 in it says that a name is
// gone, and the attribute trusted.overlay.opaque that a directory hides what lay
// below it.
func (t *Tree) Delta() *os.File { return t.delta }

// Close lets go of the tree and of all that was changed. Every Box is closed.
func (t *Tree) Close() error {
	if t.delta != nil {
		t.delta.Close()
	}
	t.idmap.Close()
	return t.host.scratch.do(func() error {
		for _, d := range []string{"/root", "/lower", "/memory"} {
			_ = unix.Unmount(t.dir+d, unix.MNT_DETACH) // not there where making it failed
		}
		return errors.Join(unix.Unmount(t.dir, unix.MNT_DETACH), os.Remove(t.dir))
	})
}
