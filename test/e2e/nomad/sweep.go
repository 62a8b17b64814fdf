package nomad

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

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
	for range 20 { // agents that were told to end may be ending still
		if sweepCgroups() {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
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

// sweepCgroups removes the empty cgroups that agents leave; false means that an agent runs.
func sweepCgroups() bool {
	comms, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, c := range comms {
		if b, err := os.ReadFile(c); err == nil && strings.TrimSpace(string(b)) == "nomad" {
			return false
		}
	}
	tops, _ := filepath.Glob("/sys/fs/cgroup/*/nomad")
	for _, top := range append(tops, "/sys/fs/cgroup/nomad.slice") {
		var dirs []string
		_ = filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, d := range slices.Backward(dirs) { // what is below comes after
			_ = unix.Rmdir(d) // refused where there is anything in it
		}
	}
	return true
}
