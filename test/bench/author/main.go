// Command author times `prairielambda test` on the sample course beside the same
// phases in plain Python, which keeps nothing apart: no sandbox, no fork, imported
// modules loaded once. One such process has the machine to itself; then each core has one,
// which tells what cores take from each other. It prints a Markdown table.
package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/runtime/python"
	"github.com/prairielambda/prairielambda/scheduler/question"
	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

//go:embed plain.py
var plainProgram []byte

// none of these are meant to run to their end.
var left = []string{"!broken", "!limits", "!attacks"}

func main() {
	seeds := flag.Int("seeds", 25, "seeds of each question")
	rounds := flag.Int("rounds", 2, "rounds, ours and the peer's in turn")
	bin := flag.String("prairielambda", "", "a binary to measure instead of a fresh build")
	flag.Parse()
	if err := run(*seeds, *rounds, *bin); err != nil {
		fmt.Fprintln(os.Stderr, "author:", err)
		os.Exit(1)
	}
}

// tally is what one way did.
type tally struct {
	calls int
	took  time.Duration
	cpu   time.Duration
}

func run(seeds, rounds int, bin string) error {
	dir, err := os.MkdirTemp("", "prairie-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if bin == "" {
		made, err := stack.Build(dir, "prairielambda")
		if err != nil {
			return err
		}
		bin = filepath.Join(made, "prairielambda")
	}
	src := filepath.Join(dir, "sample")
	if err := course.WriteSample(src); err != nil {
		return err
	}
	lib := filepath.Join(dir, "lib")
	if err := writeLibrary(lib); err != nil {
		return err
	}
	cores := runtime.NumCPU()
	var ours, peer, peers, whole tally
	for range rounds {
		if err := isolated(dir, bin, src, seeds, &ours, &whole); err != nil {
			return err
		}
		if err := plain(lib, src, 1, seeds, &peer); err != nil {
			return err
		}
		if err := plain(lib, src, cores, seeds, &peers); err != nil {
			return err
		}
	}
	base := rate(peer, 1)
	fmt.Printf("| phases of the sample course's questions, %d seeds | calls | cores | calls a second and core | against plain | CPU a call |\n|---|---|---|---|---|---|\n", seeds)
	row := func(name string, t tally, cores int) {
		r := rate(t, cores)
		fmt.Printf("| %s | %d | %d | %.0f | %.2fx | %.1f ms |\n", name, t.calls, cores, r, r/base, float64(t.cpu.Microseconds())/1000/float64(t.calls))
	}
	row("one plain Python process, nothing apart", peer, 1)
	row("such a process on each core", peers, cores)
	row("`prairielambda test`, in sandboxes", ours, cores)
	row("the same with its start and end", whole, cores)
	return nil
}

func rate(t tally, cores int) float64 { return float64(t.calls) / t.took.Seconds() / float64(cores) }

var summary = regexp.MustCompile(`(\d+) calls in ([\d.]+) s`)

// isolated runs the command that authors run.
func isolated(dir, bin, src string, seeds int, running, whole *tally) error {
	args := append([]string{"test", src, "--quiet", "--seeds", strconv.Itoa(seeds)}, left...)
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(dir, "cache"))
	cmd.Stderr = os.Stderr
	begin := time.Now()
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s test: %w\n%s", bin, err, out)
	}
	m := summary.FindSubmatch(out)
	if m == nil {
		return fmt.Errorf("%s test said nothing of its calls", bin)
	}
	calls, _ := strconv.Atoi(string(m[1]))
	seconds, _ := strconv.ParseFloat(string(m[2]), 64)
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	for t, took := range map[*tally]time.Duration{running: time.Duration(seconds * 1e9), whole: time.Since(begin)} {
		t.calls, t.took, t.cpu = t.calls+calls, t.took+took, t.cpu+cpu
	}
	return nil
}

// process is a question.Runner that keeps nothing apart.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// writeLibrary leaves the Python runtime's own library in a directory.
func writeLibrary(dir string) error {
	for name, b := range python.Files() {
		to := filepath.Join(dir, strings.TrimPrefix(name, python.Dir))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func startProcess(lib, src string) (*process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	cmd := exec.Command("/usr/bin/python3", "-c", string(plainProgram), lib, src)
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &process{cmd, in, bufio.NewReaderSize(r, 1<<20)}, cmd.Start()
}

func (p *process) Invoke(_ context.Context, inv *jobs.Invocation) (*jobs.Result, error) {
	line, err := json.Marshal(inv)
	if err != nil {
		return nil, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	if line, err = p.out.ReadBytes('\n'); err != nil {
		return nil, err
	}
	var r jobs.Result
	return &r, json.Unmarshal(line, &r)
}

// try does what test does, one call after another.
func (p *process) try(src string, qids []string, first, seeds int) (calls int, err error) {
	for _, qid := range qids {
		info, err := os.ReadFile(filepath.Join(src, "questions", qid, "info.json"))
		if err != nil {
			return 0, err
		}
		q := &question.Question{Runner: p, Course: "sample", Version: "plain", QID: qid, Info: question.ParseInfo(info)}
		for s := range seeds {
			trial, err := q.Try(context.Background(), uint32(first+s), question.Cases)
			if err != nil {
				return 0, fmt.Errorf("plain: %w", err)
			}
			if trial.Fails() {
				return 0, fmt.Errorf("plain: %s, seed %d: %+v", qid, first+s, trial.Problems)
			}
			calls += trial.Calls
		}
	}
	return calls, nil
}

// plain has n processes do all of it at once, each for itself.
func plain(lib, src string, n, seeds int, t *tally) error {
	qids, err := questions(src)
	if err != nil {
		return err
	}
	var warm, done errgroup.Group
	all := make([]*process, n)
	for i := range all {
		if all[i], err = startProcess(lib, src); err != nil {
			return err
		}
		warm.Go(func() error { // libraries are loaded, as a zygote has them
			_, err := all[i].try(src, qids, 1000, 1)
			return err
		})
	}
	if err := warm.Wait(); err != nil {
		return err
	}
	calls := make([]int, n)
	begin := time.Now()
	for i, p := range all {
		done.Go(func() (err error) {
			calls[i], err = p.try(src, qids, 1, seeds)
			return err
		})
	}
	if err := done.Wait(); err != nil {
		return err
	}
	t.took += time.Since(begin)
	for i, p := range all {
		t.calls += calls[i]
		p.in.Close()
		if err := p.cmd.Wait(); err != nil {
			return err
		}
		t.cpu += p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	}
	return nil
}

// questions lists the same ones.
func questions(src string) (qids []string, err error) {
	root := filepath.Join(src, "questions")
	err = filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() || p == root {
			return err
		}
		qid, _ := filepath.Rel(root, p)
		for _, l := range left {
			if strings.HasPrefix(qid+"/", l[1:]+"/") {
				return filepath.SkipDir
			}
		}
		if b, err := os.ReadFile(filepath.Join(p, "info.json")); err == nil && bytes.Contains(b, []byte("title")) {
			qids = append(qids, qid)
			return filepath.SkipDir
		}
		return nil
	})
	return qids, err
}
