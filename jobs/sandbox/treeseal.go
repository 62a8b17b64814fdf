package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// treeSeal is what a Tree's program needs to close itself, as seal is for a
// sandbox's. The descriptors from firstFD on are attach..., the tree, [the
// environment], shows....
type treeSeal struct {
	Host    *Root             `json:"host,omitempty"` // nil: the tree is the root
	At      string            `json:"at,omitempty"`   // where the tree is shown beside Host; /work when empty
	Env     bool              `json:"env,omitempty"`  // Host shows an environment, which comes as a descriptor
	Attach  int               `json:"attach"`
	Show    []string          `json:"show,omitempty"`
	Files   map[string][]byte `json:"files,omitempty"`
	Hidden  []string          `json:"hidden,omitempty"`
	Tmp     int64             `json:"tmp"`
	Rlimits []rlimit          `json:"rlimits"`
	Filter  []byte            `json:"filter"`
	LastCap int               `json:"last_cap"`
	Mounts  bool              `json:"mounts"`
}

// buildDir is where a Tree's program finds its inputs, treeRoot any directory to
// mount on, whoever we are.
const (
	buildDir = "/build"
	treeRoot = "/tmp"
	envAt    = "/usr" // while the root is built, an environment lies over it
)

var treeRlimits = []rlimit{{unix.RLIMIT_CORE, 0}, {unix.RLIMIT_NOFILE, 1024}, {unix.RLIMIT_MEMLOCK, 0}, {unix.RLIMIT_MSGQUEUE, 0}}

// apply closes the calling process, root of its own user namespace, for good.
func (s *treeSeal) apply() error {
	for _, st := range []struct {
		name string
		run  func() error
	}{
		{"enter the slot's cgroups", s.enterCgroups},
		{"mount", s.mount},
		{"set the host name", func() error { return unix.Sethostname([]byte("build")) }},
		{"close descriptors", func() error { return unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) }},
		{"set limits", (&seal{Rlimits: s.Rlimits}).limit},
		{"drop privileges", s.dropPrivileges},
		{"filter system calls", func() error { return installFilter(s.Filter) }},
	} {
		if err := st.run(); err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
	}
	return nil
}

func (s *treeSeal) enterCgroups() error {
	for i := range s.Attach {
		if _, err := unix.Write(firstFD+i, []byte("0")); err != nil {
			return err
		}
	}
	return unix.Unshare(unix.CLONE_NEWCGROUP)
}

func (s *treeSeal) mount() error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	tree := firstFD + s.Attach
	root := treeRoot
	if s.Host != nil {
		if s.Env {
			if err := moveTo(tree+1, envAt); err != nil {
				return err
			}
		}
		if err := s.Host.build(treeRoot, true); err != nil {
			return err
		}
		root = ""
		if err := moveTo(tree, cmp.Or(s.At, workDir)); err != nil {
			return err
		}
	} else {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
		if err := moveTo(tree, root); err != nil {
			return err
		}
		for _, d := range []string{"/proc", "/dev", "/tmp", "/run", buildDir} {
			if err := os.Mkdir(root+d, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
		if err := s.devices(root); err != nil {
			return err
		}
	}
	proc := "subset=pid"
	if s.Mounts {
		proc = ""
	}
	if err := unix.Mount("proc", root+"/proc", "proc", flags|unix.MS_NOEXEC, proc); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	own := "mode=1777,size=" + strconv.FormatInt(s.Tmp, 10)
	for _, d := range append([]string{"/tmp", "/run", buildDir}, s.Hidden...) {
		if _, err := os.Lstat(root + d); err != nil || s.Env && d == buildDir {
			continue // nothing to hide
		}
		mode := own
		if d != "/tmp" && d != "/dev/shm" {
			mode = "mode=0755,size=" + strconv.FormatInt(s.Tmp, 10)
		}
		if err := unix.Mount("tmpfs", root+d, "tmpfs", flags, mode); err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	for name, content := range s.Files {
		if err := os.WriteFile(root+buildDir+"/"+filepath.Base(name), content, 0o755); err != nil {
			return err
		}
	}
	for i, name := range s.Show {
		at := root + buildDir + "/" + name
		if err := os.Mkdir(at, 0o755); err != nil {
			return err
		}
		if err := moveTo(tree+1+i, at); err != nil {
			return err
		}
	}
	if s.Host != nil {
		return unix.Unmount(hostProc, unix.MNT_DETACH)
	}
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach the old root: %w", err)
	}
	return unix.Chdir("/")
}

func moveTo(fd int, at string) error {
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount on %s: %w", at, err)
	}
	return nil
}

// devices covers the tree's /dev with the few that do nothing.
func (s *treeSeal) devices(root string) error {
	if err := unix.Mount("tmpfs", root+"/dev", "tmpfs", unix.MS_NOSUID, "mode=0755,size=64k"); err != nil {
		return fmt.Errorf("/dev: %w", err)
	}
	for _, d := range devices {
		if err := bindReadOnly(d, root+d); err != nil {
			return err
		}
	}
	for name, to := range EnvRoot("").Links {
		if err := os.Symlink(to, root+name); err != nil {
			return err
		}
	}
	if err := os.Mkdir(root+"/dev/shm", 0o755); err != nil {
		return err
	}
	return unix.Mount("tmpfs", root+"/dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,size=16m")
}

// treeCaps are what installers of packages use, over files and processes of their
// own namespace only.
var treeCaps = []int{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL,
	unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETFCAP, unix.CAP_SYS_CHROOT,
}

func (s *treeSeal) dropPrivileges() error {
	for c := 0; c <= s.LastCap; c++ {
		if slices.Contains(treeCaps, c) || s.Mounts && (c == unix.CAP_SYS_ADMIN || c == unix.CAP_MKNOD) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return fmt.Errorf("capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
}

// treeSyscalls are what installers use besides what every program may.
var treeSyscalls = []uint32{
	unix.SYS_CHROOT, unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID,
	unix.SYS_SETGROUPS, unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_CAPSET, unix.SYS_FLOCK, unix.SYS_FCNTL, unix.SYS_SYNC, unix.SYS_SYNCFS,
	unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR,
	unix.SYS_INOTIFY_INIT1, unix.SYS_INOTIFY_ADD_WATCH, unix.SYS_INOTIFY_RM_WATCH,
}

// treeFilter allows what programs and installers need. Here locks are real:
// nothing that a Tree shows is anybody else's.
func treeFilter(mounts bool) ([]byte, error) {
	rules := argumentRules()
	for _, nr := range slices.Concat(allowedSyscalls, allowedSyscallsArch, treeSyscalls) {
		rules[nr] = allow()
	}
	rules[unix.SYS_MEMFD_CREATE] = allow()
	if mounts {
		for _, nr := range []uint32{unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_UNSHARE, unix.SYS_SETHOSTNAME, unix.SYS_PRCTL} {
			rules[nr] = allow()
		}
		rules[unix.SYS_CLONE] = argAny(0, unix.CLONE_NEWUSER, fail(unix.EPERM), allow())
	}
	rules[unix.SYS_CLONE3] = fail(unix.ENOSYS)
	b, err := assemble(auditArch, rules, fail(unix.ENOSYS))
	if err != nil {
		return nil, fmt.Errorf("assemble seccomp filter: %w", err)
	}
	return b, nil
}

// listenIn listens on TreePort of the network namespace that process pid was born
// in, whose loopback it brings up.
func listenIn(pid int) (ln net.Listener, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		ln, err = listenThere(pid)
	}()
	<-done
	if err != nil {
		return nil, fmt.Errorf("listen inside: %w", err)
	}
	return ln, nil
}

func listenThere(pid int) (net.Listener, error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return nil, err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: TreePort, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, 128); err != nil {
		return nil, err
	}
	return net.FileListener(f)
}
