// Command store compares pushes of the syncer with `restic backup` and `casync
// make` on generated courses, and prints a table of ratios.
//
// All sides write to the same disk, and what each has stored is durable when its
// measured time ends: restic syncs each file that it writes and the syncer
// whatever a record refers to, so that both are when they end; casync syncs
// nothing, so it is followed by a `sync -f` of its store. Runs are interleaved;
// each cell is a median. restic and casync read the working tree, the syncer the
// commit, from one pack as after a clone.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{ctx: ctx, tools: tools, out: tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)}
	files := flag.String("files", "1000,2600,10000", "the courses' `sizes`, rising; with 100000 it takes minutes")
	large := flag.Bool("large", false, "push one file of 4 GiB, too")
	alone := flag.Bool("alone", false, "measure the syncer without its peers: its growth and its memory")
	flag.StringVar(&b.syncer, "syncer", "", "the `program` to measure; without it, one is built")
	flag.IntVar(&b.runs, "runs", 5, "changed pushes per cell; full pushes run three times at most")
	flag.StringVar(&b.dir, "dir", "", "scratch `directory` on the disk to measure")
	flag.Parse()
	if *alone {
		b.tools = tools[:1]
	}
	if err := b.run(*files, *large); err != nil {
		fmt.Fprintln(os.Stderr, "bench/store:", err)
		os.Exit(1)
	}
}

// private mounts an ext4 filesystem of its own in dir, so that neither other
// programs' dirty pages nor the inodes they deleted a moment ago (which ext4 walks
// around for a minute) are measured. Without the right to mount it says so and
// goes on in dir itself.
func private(dir string) (disk string, unmount func(), err error) {
	disk = filepath.Join(dir, "disk")
	image := disk + ".img"
	if err := os.Mkdir(disk, 0o755); err != nil {
		return "", nil, err
	}
	script := `truncate -s 24G "$1" && mkfs.ext4 -q -E lazy_itable_init=1,nodiscard "$1" && mount -o loop,noatime "$1" "$2"`
	if out, err := exec.Command("sh", "-c", script, "sh", image, disk).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "no filesystem of our own, measuring on a shared one: %s\n", out)
		return disk, func() {}, nil
	}
	return disk, func() { exec.Command("umount", disk).Run() }, nil
}

// tool is one side of the comparison. Each run gets a store of its own.
type tool struct {
	name string
	sync bool // syncs nothing itself
	init func(b *bench, store string) error
	push func(b *bench, store string) []string // the command
}

var tools = []tool{
	{"syncer", false, nil, func(b *bench, store string) []string {
		return []string{b.syncer, "push", "--quiet", "--store", "dir://" + store, "course", b.repo}
	}},
	{"restic", false, func(b *bench, store string) error {
		_, err := b.exec("restic", "init", "-q", "--repo", store)
		return err
	}, func(b *bench, store string) []string {
		return []string{"restic", "backup", "-q", "--repo", store, b.tree}
	}},
	{"casync", true, nil, func(b *bench, store string) []string {
		return []string{"casync", "make", "--without=all", "--with=symlinks", "--with=permissions", "--store=" + store + "/chunks", store + "/index.caidx", b.tree}
	}},
}

type bench struct {
	ctx             context.Context
	dir, syncer     string
	tools           []tool
	runs            int
	repo, tree      string // the bare repository, and its working tree
	out             *tabwriter.Writer
	changes, stores int
}

func (b *bench) run(files string, large bool) error {
	for _, t := range b.tools[1:] {
		if _, err := exec.LookPath(t.name); err != nil {
			return fmt.Errorf("%s is missing: apt-get install git restic casync", t.name)
		}
	}
	dir, err := os.MkdirTemp(b.dir, "bench-store-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	disk, unmount, err := private(dir)
	if err != nil {
		return err
	}
	defer unmount()
	b.dir = disk
	if b.syncer == "" {
		b.syncer = filepath.Join(b.dir, "syncer")
		// As make build does.
		build := exec.CommandContext(b.ctx, "go", "build", "-trimpath", "-tags=disable_grpc_modules", "-o", b.syncer, "github.com/prairielambda/prairielambda/cmd/syncer")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build the syncer: %w: %s", err, out)
		}
	}
	fmt.Fprint(b.out, "what")
	for _, t := range b.tools {
		fmt.Fprint(b.out, "\t", t.name)
	}
	fmt.Fprintln(b.out, "\tvs the faster peer\tpeak memory")
	var sizes []int
	first := map[int]time.Duration{}
	for _, f := range strings.FieldsFunc(files, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 {
			return fmt.Errorf("-files: %q is no number of files", f)
		}
		if first[n], err = b.size(n); err != nil {
			return err
		}
		sizes = append(sizes, n)
	}
	for _, n := range sizes[min(1, len(sizes)):] {
		fmt.Fprintf(b.out, "one change: %d files against %d\t%.2fx\n", n, sizes[0], float64(first[n])/float64(first[sizes[0]]))
	}
	if large {
		if err := b.file4G(); err != nil {
			return err
		}
	}
	return b.out.Flush()
}

// size measures one repository: full pushes, changed pushes, pushes of nothing.
func (b *bench) size(n int) (time.Duration, error) {
	if err := b.generate(n); err != nil {
		return 0, err
	}
	defer os.RemoveAll(b.repo)
	defer os.RemoveAll(b.tree)
	full := min(b.runs, 3)
	if n > 50_000 {
		full = 1
	}
	if _, err := b.row(fmt.Sprintf("full push, %d files", n), full, b.fresh, nil); err != nil {
		return 0, err
	}
	stores := map[string]string{}
	keep := func(t tool) (string, error) {
		if s, ok := stores[t.name]; ok {
			return s, nil
		}
		s, err := b.fresh(t)
		if err == nil {
			_, _, err = b.timed(t, s)
		}
		stores[t.name] = s
		return s, err
	}
	took, err := b.row(fmt.Sprintf("one changed question of %d files", n), b.runs, keep, b.change)
	if err != nil {
		return 0, err
	}
	if _, err = b.row(fmt.Sprintf("nothing changed, %d files", n), b.runs, keep, nil); err != nil {
		return 0, err
	}
	return took, b.floor(stores[b.tools[0].name], full)
}

// row measures all tools, in turn, runs times.
func (b *bench) row(name string, runs int, store func(tool) (string, error), before func() error) (time.Duration, error) {
	took := make([][]time.Duration, len(b.tools))
	var peak int64
	for _, t := range b.tools {
		if _, err := store(t); err != nil { // make what is kept
			return 0, err
		}
	}
	for range runs {
		if before != nil {
			if err := before(); err != nil {
				return 0, err
			}
		}
		for i, t := range b.tools {
			s, err := store(t)
			if err != nil {
				return 0, err
			}
			if err := exec.CommandContext(b.ctx, "sync", "-f", b.dir).Run(); err != nil {
				return 0, err
			}
			d, kib, err := b.timed(t, s)
			if err != nil {
				return 0, err
			}
			took[i] = append(took[i], d)
			if i == 0 {
				peak = max(peak, kib)
			}
		}
	}
	m := make([]time.Duration, len(b.tools))
	fmt.Fprint(b.out, name)
	for i := range took {
		slices.Sort(took[i])
		m[i] = took[i][len(took[i])/2]
		fmt.Fprintf(b.out, "\t%v", round(m[i]))
	}
	ratio := "-"
	if len(m) > 1 {
		ratio = fmt.Sprintf("%.1fx", float64(slices.Min(m[1:]))/float64(m[0]))
	}
	fmt.Fprintf(b.out, "\t%s\t%d MiB\n", ratio, peak>>10)
	b.out.Flush()
	return m[0], nil
}

func round(d time.Duration) time.Duration { return d.Round(d/200 + time.Microsecond) }

// fresh makes an empty store.
func (b *bench) fresh(t tool) (string, error) {
	b.stores++
	s := filepath.Join(b.dir, fmt.Sprintf("store-%d-%s", b.stores, t.name))
	if t.init != nil {
		return s, t.init(b, s)
	}
	return s, os.MkdirAll(s, 0o755)
}

// timed runs a push, until what it stored is durable.
func (b *bench) timed(t tool, store string) (time.Duration, int64, error) {
	start := time.Now()
	kib, err := b.exec(t.push(b, store)...)
	if err == nil && t.sync {
		err = exec.CommandContext(b.ctx, "sync", "-f", store).Run()
	}
	return time.Since(start), kib, err
}

// exec runs a command and returns its peak memory.
func (b *bench) exec(args ...string) (int64, error) {
	cmd := exec.CommandContext(b.ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD=bench", "RESTIC_CACHE_DIR="+filepath.Join(b.dir, "restic-cache"), "GIT_CONFIG_GLOBAL=/dev/null")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	// getrusage would count the git below it, and with that git's mapped packs.
	peak := make(chan int64)
	done := make(chan struct{})
	go func() {
		var kib int64
		for {
			kib = max(kib, highWater(cmd.Process.Pid))
			select {
			case <-done:
				peak <- kib
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	err := cmd.Wait()
	close(done)
	kib := <-peak
	if err != nil {
		return 0, errors.Join(fmt.Errorf("%s: %s", strings.Join(args, " "), out.String()), err)
	}
	return kib, nil
}

// highWater is the peak resident memory of a process in KiB; 0 once it is gone.
func highWater(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n
		}
	}
	return 0
}
