// Command call times one question's generate the whole way, through gateway,
// worker, FUSE mount and sandbox, beside a cold `python3` and a cold `bwrap` that
// do the same work in the same run. It prints a Markdown table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

func main() {
	rounds := flag.Int("rounds", 15, "cold starts of each peer")
	warm := flag.Int("warm", 40, "calls through the gateway for each of them")
	flag.Parse()
	if err := run(*rounds, *warm); err != nil {
		fmt.Fprintln(os.Stderr, "call:", err)
		os.Exit(1)
	}
}

// driver does what one call does: import the question, generate, print JSON.
const driver = `
import json, random, runpy, sys
sys.path[:0] = [".", "../../../../serverFilesCourse"]
seed = int(sys.argv[1])
random.seed(seed)
import numpy
numpy.random.seed(seed)
data = {"params": {}, "correct_answers": {}, "variant_seed": seed}
runpy.run_path("server.py")["generate"](data)
print(json.dumps(data))
`

func run(rounds, warm int) (err error) {
	dir, err := os.MkdirTemp("", "prairie-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	bin, err := stack.Build(dir, "syncer", "chunkfs", "worker", "scheduler")
	if err != nil {
		return err
	}
	src := filepath.Join(dir, "course")
	if err := course.WriteSample(src); err != nil {
		return err
	}
	if _, err := course.GitInit(src, "bench"); err != nil {
		return err
	}
	s := stack.New(dir, bin)
	if _, err := s.Push("sample", src); err != nil {
		return err
	}
	if err := s.Start(context.Background()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	cwd := filepath.Join(src, "questions", course.Cubic)
	peers := []struct {
		name string
		argv []string
	}{
		{"`python3`, cold", []string{"/usr/bin/python3", "-c", driver}},
		{"`bwrap` + `python3`, cold", []string{
			"bwrap", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin",
			"--ro-bind", "/etc/alternatives", "/etc/alternatives", "--ro-bind", "/etc/ld.so.cache", "/etc/ld.so.cache",
			"--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--ro-bind", src, "/course", "--chdir", "/course/questions/" + course.Cubic,
			"--unshare-all", "--die-with-parent", "/usr/bin/python3", "-c", driver,
		}},
	}
	cold := make([][]time.Duration, len(peers))
	var calls []time.Duration
	seed := 0
	call := func() error {
		seed++
		t := time.Now()
		a, err := s.Post("/courses/sample/current/question/"+course.Cubic, map[string]any{
			"method": "generate", "data": map[string]any{"params": map[string]any{}, "correct_answers": map[string]any{}, "variant_seed": seed},
		})
		if err != nil || a.Status != 200 {
			return fmt.Errorf("gateway: %w: %+v", err, a)
		}
		calls = append(calls, time.Since(t))
		return nil
	}
	for range 20 { // let the pool learn how often this question is called
		if err := call(); err != nil {
			return err
		}
	}
	calls = nil
	for range rounds {
		for i, p := range peers {
			seed++
			cmd := exec.Command(p.argv[0], append(p.argv[1:], fmt.Sprint(seed))...)
			cmd.Dir = cwd
			t := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w\n%s", p.name, err, out)
			}
			cold[i] = append(cold[i], time.Since(t))
		}
		for range warm {
			if err := call(); err != nil {
				return err
			}
			time.Sleep(5 * time.Millisecond) // a page load apart, so that spares are there
		}
	}
	fmt.Printf("| `generate` of %s (numpy, sympy) | calls | median | p99 | median against bwrap |\n|---|---|---|---|---|\n", course.Cubic)
	base := quantile(cold[1], 0.5)
	row := func(name string, d []time.Duration) {
		m := quantile(d, 0.5)
		fmt.Printf("| %s | %d | %.2f ms | %.2f ms | 1/%.1f |\n", name, len(d), ms(m), ms(quantile(d, 0.99)), float64(base)/float64(m))
	}
	for i, p := range peers {
		row(p.name, cold[i])
	}
	row("through gateway, worker, mount and sandbox", calls)
	return nil
}

func quantile(d []time.Duration, q float64) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[min(len(d)-1, int(float64(len(d))*q))]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
