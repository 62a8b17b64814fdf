package nomad

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Sweep unmounts everything below dir, innermost first, and removes it. It
// reports processes that still name dir: whoever started them forgot to end them.
func Sweep(dir string) error {
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return err
	}
	for i := len(infos) - 1; i >= 0; i-- {
		if err := unix.Unmount(infos[i].Mountpoint, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", infos[i].Mountpoint, err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	sweepCgroups()
	return leftover(dir)
}

func leftover(dir string) error {
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, p := range procs {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		if b, err := os.ReadFile(p); err == nil && pid != os.Getpid() && strings.Contains(string(b), dir+"/") {
			return fmt.Errorf("process %d runs on: %s", pid, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return nil
}

// sweepCgroups removes the empty cgroups that agents leave, unless an agent runs.
func sweepCgroups() {
	comms, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, c := range comms {
		if b, err := os.ReadFile(c); err == nil && strings.TrimSpace(string(b)) == "nomad" {
			return
		}
	}
	for _, pattern := range []string{"nomad/*/*/*", "nomad/*/*", "nomad/*", "nomad", "nomad.slice/*/*", "nomad.slice/*", "nomad.slice"} {
		for _, root := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
			dirs, _ := filepath.Glob(root + pattern)
			for _, d := range dirs {
				_ = unix.Rmdir(d) // refused where there is anything in it
			}
		}
	}
}
