// Command chunkfs measures the mount against its peers, all in one run on one
// machine, so that the ratios mean something where the times do not.
//
//	go run ./test/bench/chunkfs [-n 5] [M1 M2 M3 M4 M5 M8 M9]
//
// It needs root, /dev/fuse, and for the peers the Debian packages rclone, restic
// and casync; a peer that is missing is left out and named.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

func main() {
	if mode := os.Getenv(modeEnv); mode != "" {
		if err := serve(mode); err != nil {
			fmt.Fprintln(os.Stderr, mode+":", err)
			os.Exit(1)
		}
		return
	}
	// The runtime preempts by SIGURG, which interrupts requests to a mount; restic
	// mount answers those with EIO.
	const calm = "GODEBUG=asyncpreemptoff=1"
	if "GODEBUG="+os.Getenv("GODEBUG") != calm {
		err := syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), calm))
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	n := flag.Int("n", 5, "measurements of each figure, of which the median counts")
	flag.Parse()
	if err := run(*n, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(n int, which []string) (err error) {
	dir, err := os.MkdirTemp("", "chunkfs-bench-")
	if err != nil {
		return err
	}
	b := &bench{dir: dir, n: n}
	defer b.cleanup()
	if err := b.prepare(); err != nil {
		return err
	}
	for _, m := range []struct {
		name string
		run  func() error
	}{{"M1", b.m1}, {"M2", b.m2}, {"M3", b.m3}, {"M4", b.m4}, {"M5", b.m5}, {"M8", b.m8}, {"M9", b.m9}} {
		if len(which) > 0 && !slices.Contains(which, m.name) {
			continue
		}
		if err := m.run(); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// bench is one run: a course in a store, and whatever is mounted.
type bench struct {
	dir     string
	n       int
	src     string
	store   string
	version string
	files   int
	edits   int // versions pushed for m2 and m5
	locked  [][]byte
	share   bool // mounts write to the store what questions read
	undo    []func()
}

func (b *bench) cleanup() {
	for _, f := range slices.Backward(b.undo) {
		f()
	}
	os.RemoveAll(b.dir)
}

// median of n measurements.
func (b *bench) median(measure func(i int) (time.Duration, error)) (time.Duration, error) {
	var all []time.Duration
	for i := range b.n {
		d, err := measure(i)
		if err != nil {
			return 0, err
		}
		all = append(all, d)
	}
	return middle(all), nil
}

func middle(all []time.Duration) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

func have(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }

func ratio(a, b time.Duration) string { return fmt.Sprintf("%.2f", float64(a)/float64(b)) }
