package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpu is what this process, its children that have ended, and those that live
// (the interpreters that fork) have used so far.
func (b *bench) cpu() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	for _, f := range children() {
		for _, at := range []int{11, 12, 13, 14} { // utime, stime, cutime, cstime
			ticks, _ := strconv.ParseInt(f.stat[at], 10, 64)
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum
}

type child struct {
	pid  string
	stat []string // the fields of its stat from the state on
}

func children() (all []child) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	own := strconv.Itoa(os.Getpid())
	for _, d := range dirs {
		raw, err := os.ReadFile("/proc/" + d.Name() + "/stat")
		if err != nil || d.Name()[0] < '0' || d.Name()[0] > '9' {
			continue
		}
		f := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
		if len(f) > 15 && f[1] == own {
			all = append(all, child{d.Name(), f})
		}
	}
	return all
}

// memory says what a waiting spare holds for itself, and what its interpreter,
// the zygote, holds in all.
func (b *bench) memory() (private, whole int64, err error) {
	if err := b.spareReady(); err != nil {
		return 0, 0, err
	}
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return 0, 0, err
	}
	for _, c := range children() {
		ns, err := os.Readlink("/proc/" + c.pid + "/ns/pid")
		if err != nil {
			continue
		}
		cmdline, _ := os.ReadFile("/proc/" + c.pid + "/cmdline")
		rollup, err := os.ReadFile("/proc/" + c.pid + "/smaps_rollup")
		if err != nil || !strings.Contains(string(cmdline), "zygote.py") {
			continue
		}
		if ns == own {
			whole = max(whole, field(rollup, "Rss:"))
			continue
		}
		private = max(private, field(rollup, "Private_Clean:")+field(rollup, "Private_Dirty:"))
	}
	if whole == 0 || private == 0 {
		return 0, 0, errors.New("no spare found")
	}
	return private, whole, nil
}

func field(rollup []byte, name string) int64 {
	for l := range strings.Lines(string(rollup)) {
		var kib int64
		if _, err := fmt.Sscanf(l, name+" %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}
