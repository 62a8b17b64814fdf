package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// slotCgroup is one slot's place in every tree. Its files stay open: a use of
// the slot costs writes, never a path walk.
type slotCgroup struct {
	into   *os.File   // the cgroup2 directory for CLONE_INTO_CGROUP, or nil
	attach []*os.File // tasks of each v1 tree; a child writes "0" to move itself, see slot

	memLimit, memPeak, memOOM, pidsMax, kill *os.File // any may be nil
	memory                                   int64    // limits in force
	pids                                     int
	oomBase                                  int64 // oom kills counted before this use
	killed                                   bool  // killAll was used: see renew
}

func (c *cgroups) slot(i int) (*slotCgroup, error) {
	s := &slotCgroup{}
	name := "slot-" + strconv.Itoa(i)
	open := func(dir, file string, flags int, into **os.File) error {
		f, err := os.OpenFile(filepath.Join(dir, file), flags, 0)
		if err == nil {
			*into = f
		}
		return err
	}
	mkdir := func(parent string) (string, error) {
		d := filepath.Join(parent, name)
		if err := os.Mkdir(d, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return "", fmt.Errorf("make slot cgroup: %w", err)
		}
		return d, nil
	}
	fail := func(err error) (*slotCgroup, error) {
		s.close()
		return nil, fmt.Errorf("open slot cgroup %d: %w", i, err)
	}
	for _, ctl := range slotControllers {
		parent, ok := c.v1[ctl]
		if !ok {
			continue
		}
		dir, err := mkdir(parent)
		if err != nil {
			return fail(err)
		}
		// Not cgroup.procs: moving a whole process takes a lock of all cgroups, whose
		// first writer after a while waits for the kernel's grace period, 5 to 15 ms. A
		// zygote's child has one thread, and a stage's others end when it becomes its program.
		var tasks *os.File
		err = open(dir, "tasks", os.O_WRONLY, &tasks)
		s.attach = append(s.attach, tasks)
		switch ctl {
		case "memory":
			swappiness(dir)
			err = errors.Join(err, open(dir, "memory.limit_in_bytes", os.O_WRONLY, &s.memLimit),
				open(dir, "memory.max_usage_in_bytes", os.O_RDWR, &s.memPeak),
				open(dir, "memory.oom_control", os.O_RDONLY, &s.memOOM))
		case "pids":
			err = errors.Join(err, open(dir, "pids.max", os.O_WRONLY, &s.pidsMax))
		}
		if err != nil {
			return fail(err)
		}
	}
	if c.v2 == "" {
		return s, nil
	}
	dir, err := mkdir(c.v2)
	if err != nil {
		return fail(err)
	}
	err = open(dir, "", os.O_RDONLY|unix.O_DIRECTORY, &s.into)
	if c.v2Full {
		err = errors.Join(err, open(dir, "memory.max", os.O_WRONLY, &s.memLimit),
			open(dir, "memory.events", os.O_RDONLY, &s.memOOM), open(dir, "pids.max", os.O_WRONLY, &s.pidsMax))
		_ = open(dir, "memory.peak", os.O_RDWR, &s.memPeak) // since Linux 5.19; writable since 6.12
		_ = os.WriteFile(filepath.Join(dir, "memory.oom.group"), []byte("1"), 0)
		_ = os.WriteFile(filepath.Join(dir, "memory.swap.max"), []byte("0"), 0) // absent without swap accounting
	}
	_ = open(dir, "cgroup.kill", os.O_WRONLY, &s.kill) // since Linux 5.14
	if err != nil {
		return fail(err)
	}
	return s, nil
}

// swappiness keeps a v1 slot out of swap: its limit counts memory only.
func swappiness(dir string) {
	_ = os.WriteFile(filepath.Join(dir, "memory.swappiness"), []byte("0"), 0)
}

// limit prepares the slot for its next use.
func (s *slotCgroup) limit(memory int64, pids int) error {
	if s == nil {
		return nil
	}
	if memory != s.memory {
		if err := write(s.memLimit, strconv.FormatInt(memory, 10)); err != nil {
			return fmt.Errorf("set memory limit: %w", err)
		}
		s.memory = memory
	}
	if pids != s.pids {
		if err := write(s.pidsMax, strconv.Itoa(pids)); err != nil {
			return fmt.Errorf("set process limit: %w", err)
		}
		s.pids = pids
	}
	_ = write(s.memPeak, "0") // a peak that cannot be reset is the slot's, not the call's: see peak
	s.oomBase = s.oomCount()
	return nil
}

// oomKilled says whether the kernel killed in this slot for want of memory since limit.
func (s *slotCgroup) oomKilled() bool { return s != nil && s.oomCount() > s.oomBase }

func (s *slotCgroup) oomCount() int64 {
	for l := range strings.Lines(read(s.memOOM)) {
		if n, ok := strings.CutPrefix(l, "oom_kill "); ok {
			v, _ := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			return v
		}
	}
	return 0
}

// peak is the most memory in use since limit, 0 where the kernel does not say.
func (s *slotCgroup) peak() int64 {
	if s == nil {
		return 0
	}
	v, _ := strconv.ParseInt(strings.TrimSpace(read(s.memPeak)), 10, 64)
	return v
}

// killAll kills whatever is in the slot, by the kernel's own hand where it has one.
func (s *slotCgroup) killAll() {
	if s != nil && write(s.kill, "1") == nil {
		s.killed = true
	}
}

// renew gives slot i a cgroup2 directory that cgroup.kill was never used on. A
// kernel with kill_seq (Linux 6.18 was seen) takes whatever is cloned into one that
// it was used on for a fork in flight, and kills it at birth: it compares the count
// of kills of the parent's cgroup with that of the child's (cgroup_css_set_fork).
func (c *cgroups) renew(i int, s *slotCgroup) (*slotCgroup, error) {
	if s == nil || !s.killed {
		return s, nil
	}
	dir := s.into.Name()
	err := os.Remove(dir)
	for deadline := time.Now().Add(stuckAfter); errors.Is(err, unix.EBUSY) && time.Now().Before(deadline); err = os.Remove(dir) {
		time.Sleep(time.Millisecond) // the killed take a moment to leave
	}
	if err != nil {
		return s, fmt.Errorf("renew slot cgroup %d: %w", i, err)
	}
	fresh, err := c.slot(i)
	if err != nil {
		return s, err
	}
	s.close()
	return fresh, nil
}

func (s *slotCgroup) close() {
	for _, f := range append(s.attach, s.into, s.memLimit, s.memPeak, s.memOOM, s.pidsMax, s.kill) {
		if f != nil {
			f.Close()
		}
	}
}

func write(f *os.File, v string) error {
	if f == nil {
		return nil
	}
	_, err := f.WriteAt([]byte(v), 0)
	return err
}

func read(f *os.File) string {
	if f == nil {
		return ""
	}
	var b [512]byte
	n, _ := f.ReadAt(b[:], 0)
	return string(b[:n])
}
