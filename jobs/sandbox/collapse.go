package sandbox

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// collapse puts the warm interpreter's own memory into huge pages, once, before
// its first fork. A fork copies one entry for each of them in place of 512, and
// the end of a child lets go of one. A child's write still copies one small page.
// A kernel that cannot (before Linux 6.1, or without CAP_SYS_NICE) costs speed only.
func (z *Zygote) collapse() {
	pid := z.cmd.Process.Pid
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	for _, r := range hugeRanges(string(maps)) {
		// One range a call: a call ends at the first range that it cannot collapse.
		iov := unix.Iovec{Base: (*byte)(unsafe.Add(unsafe.Pointer(nil), r[0])), Len: r[1] - r[0]} // an address in the other process
		_, _, _ = unix.Syscall6(unix.SYS_PROCESS_MADVISE, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, unix.MADV_COLLAPSE, 0, 0)
	}
}

const hugePage = 2 << 20

// hugeRanges finds the whole huge pages of private, anonymous, writable memory in
// the form of /proc/PID/maps.
func hugeRanges(maps string) (ranges [][2]uint64) {
	for l := range strings.Lines(maps) {
		var lo, hi, offset, inode uint64
		var perm, dev, path string
		n, _ := fmt.Sscanf(l, "%x-%x %s %x %s %d %s", &lo, &hi, &perm, &offset, &dev, &inode, &path)
		if n < 6 || inode != 0 || perm != "rw-p" || path != "" && path != "[heap]" {
			continue
		}
		lo, hi = (lo+hugePage-1)&^(hugePage-1), hi&^(hugePage-1)
		if lo < hi {
			ranges = append(ranges, [2]uint64{lo, hi})
		}
	}
	return ranges
}
