package sandbox

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// walls are the layers that do not change from one sandbox of a Host to the next.
type walls struct {
	Landlock landlockPolicy `json:"landlock"`
	Seccomp  seccompPolicy  `json:"seccomp"`
	Userns   bool           `json:"userns"` // we are uid 0 of a user namespace, not of the machine
	LastCap  int            `json:"last_cap"`

	// Namespaces that a zygote's child is born in, and that it makes for itself.
	Clone   uint64 `json:"clone"`
	Unshare uint64 `json:"unshare"`
}

// seal is all that one sandbox needs to close itself: the same steps in the same
// order in Go (apply) and in a zygote's child (seal.py).
type seal struct {
	walls
	UID     int      `json:"uid"`   // user and group inside; ignored in a user namespace
	Files   int64    `json:"files"` // bytes of /tmp, and of /dev/shm
	Rlimits []rlimit `json:"rlimits"`
	Targets []string `json:"targets"` // where the course's mounts go, below /course
	Attach  int      `json:"attach"`  // how many cgroups of v1 there are to move to
	Net     bool     `json:"net"`     // enter the network namespace behind firstFD
	Work    string   `json:"work"`    // where a Scratch goes that comes after the mounts; "" for none
}

// The descriptors of a sandbox: a zygote receives them in this order with a
// message, a stage moves those that came with its own to firstFD and on.
//
//	net, attach..., mount..., [scratch]
const firstFD = 32 // above what a stage has open itself

// courseDir is where every sandbox sees its course, workDir where a program sees
// its Scratch, gradeDir where a grader does.
const (
	courseDir = "/course"
	workDir   = "/work"
	gradeDir  = "/grade"
)

// apply seals the calling process for good. It runs on one locked thread that
// will exec; every step that fails ends it.
func (s *seal) apply() error {
	steps := []struct {
		name string
		run  func() error
	}{
		{"enter the slot's cgroups", s.enterCgroups},
		{"enter the slot's network", s.enterNetwork},
		{"mount", s.mount},
		{"set the host name", func() error { return unix.Sethostname([]byte("sandbox")) }},
		{"close descriptors", func() error { return unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) }},
		{"set limits", s.limit},
		{"drop privileges", s.dropPrivileges},
		{"restrict with Landlock", s.Landlock.apply},
		{"filter system calls", func() error { return installFilter(s.Seccomp.Whole) }},
	}
	for _, st := range steps {
		if err := st.run(); err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
	}
	return nil
}

func (s *seal) enterCgroups() error {
	for i := range s.Attach {
		if _, err := unix.Write(firstFD+1+i, []byte("0")); err != nil {
			return err
		}
	}
	return unix.Unshare(int(s.Unshare) & unix.CLONE_NEWCGROUP) // now, so that its root is the slot
}

func (s *seal) enterNetwork() error {
	if !s.Net {
		return nil // born in one of its own
	}
	return unix.Setns(firstFD, unix.CLONE_NEWNET)
}

func (s *seal) mount() error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("proc", "/proc", "proc", flags|unix.MS_NOEXEC, "subset=pid"); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	if s.Userns {
		if err := unix.Unmount(hostProc, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("detach the outer /proc: %w", err)
		}
	}
	own := "mode=1777,nr_inodes=16384,size=" + strconv.FormatInt(s.Files, 10)
	for _, dir := range []string{"/tmp", "/dev/shm"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", flags, own); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	if s.Work != "" {
		err := unix.MoveMount(firstFD+1+s.Attach+len(s.Targets), "", unix.AT_FDCWD, s.Work, unix.MOVE_MOUNT_F_EMPTY_PATH)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Work, err)
		}
	}
	if len(s.Targets) == 1 && s.Targets[0] == "." { // read-only since it was detached
		return unix.MoveMount(firstFD+1+s.Attach, "", unix.AT_FDCWD, courseDir, unix.MOVE_MOUNT_F_EMPTY_PATH)
	}
	if err := unix.Mount("tmpfs", courseDir, "tmpfs", flags, "mode=0755,nr_inodes=8192,size=4m"); err != nil {
		return fmt.Errorf("%s: %w", courseDir, err)
	}
	for i, t := range s.Targets {
		if err := os.MkdirAll(path.Join(courseDir, t), 0o755); err != nil {
			return err
		}
		err := unix.MoveMount(firstFD+1+s.Attach+i, "", unix.AT_FDCWD, path.Join(courseDir, t), unix.MOVE_MOUNT_F_EMPTY_PATH)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", courseDir, t, err)
		}
	}
	return unix.Mount("", courseDir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, "")
}

func (s *seal) limit() error {
	for _, l := range s.Rlimits {
		if err := unix.Setrlimit(l.Which, &unix.Rlimit{Cur: l.Value, Max: l.Value}); err != nil {
			return fmt.Errorf("rlimit %d: %w", l.Which, err)
		}
	}
	return nil
}

// dropPrivileges changes this thread only: exec ends the others.
func (s *seal) dropPrivileges() error {
	for c := 0; c <= s.LastCap; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return fmt.Errorf("capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if !s.Userns {
		if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 {
			return fmt.Errorf("setgroups: %w", e)
		}
		id := uintptr(s.UID)
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, id, id, id); e != 0 {
			return fmt.Errorf("setresgid: %w", e)
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id); e != 0 {
			return fmt.Errorf("setresuid: %w", e)
		}
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&hdr, &none[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) // /proc/self is the program's own to read
}

func (p landlockPolicy) apply() error {
	if p.ABI == 0 {
		return nil // the Host said at its start that this layer is missing
	}
	fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&p.Attr[0])), uintptr(len(p.Attr)), 0)
	if e != 0 {
		return e
	}
	for _, r := range p.Rules {
		dir, err := unix.Open(r.Path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Path, err)
		}
		attr := unix.LandlockPathBeneathAttr{Allowed_access: r.Access, Parent_fd: int32(dir)}
		_, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, fd, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
		unix.Close(dir)
		if e != 0 {
			return fmt.Errorf("%s: %w", r.Path, e)
		}
	}
	if _, _, e := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); e != 0 {
		return e
	}
	return unix.Close(int(fd))
}

func installFilter(prog []byte) error {
	fprog := unix.SockFprog{Len: uint16(len(prog) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&prog[0]))}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
	if e != 0 {
		return e
	}
	return nil
}

// lastCap is the highest capability the kernel knows.
func lastCap() (int, error) {
	b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}
