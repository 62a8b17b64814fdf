package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
	"github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

//go:embed question.py
var question []byte

//go:embed forker.py
var forker []byte

const version = "0123456789012345678901234567890123456789"

// bench is what all peers need.
type bench struct {
	dir            string
	hosts          []*sandbox.Host
	courses        *pool.Courses
	spares, demand *pool.Pool

	fork, call *interpreter // each with its own caches

	mu     sync.Mutex // guards phases
	phases map[*pool.Pool][]jobs.Phases
}

// interpreter is a warm one without any isolation, that forks or calls.
type interpreter struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func newBench(ctx context.Context) (b *bench, err error) {
	b = &bench{phases: map[*pool.Pool][]jobs.Phases{}}
	if b.dir, err = os.MkdirTemp("", "prairie-bench-"); err != nil {
		return nil, err
	}
	q := filepath.Join(b.dir, "courses", "c", version, "questions", "cubic")
	err = errors.Join(
		os.Chmod(b.dir, 0o755), os.MkdirAll(q, 0o755), os.WriteFile(q+"/server.py", question, 0o644),
		os.WriteFile(q+"/info.json", []byte("{}"), 0o644), os.WriteFile(b.dir+"/forker.py", forker, 0o644),
		os.Symlink(version, filepath.Join(b.dir, "courses", "c", pool.Current)),
	)
	if err != nil {
		return nil, err
	}
	if b.courses, err = pool.OpenCourses(b.dir + "/courses"); err != nil {
		return nil, err
	}
	languages, err := runtime.LoadLanguages()
	if err != nil {
		return nil, err
	}
	start := func(spares int) (*pool.Pool, error) {
		h, err := sandbox.Open(sandbox.Config{Slots: 24})
		if err != nil {
			return nil, err
		}
		b.hosts = append(b.hosts, h)
		return pool.New(ctx, pool.Config{Host: h, Courses: b.courses, Python: runtime.Python("/usr/bin/python3"), Spares: spares, Languages: languages})
	}
	if b.spares, err = start(8); err != nil {
		return nil, err
	}
	if b.demand, err = start(-1); err != nil {
		return nil, err
	}
	if b.fork, err = startInterpreter(b.python()); err != nil {
		return nil, err
	}
	b.call, err = startInterpreter(b.python())
	return b, err
}

func startInterpreter(argv []string) (*interpreter, error) {
	i := &interpreter{cmd: exec.Command(argv[0], argv[1:]...)}
	i.cmd.Env, i.cmd.Stderr = environment, os.Stderr
	var err error
	if i.in, err = i.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := i.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	i.out = bufio.NewReader(out)
	return i, i.cmd.Start()
}

var environment = []string{"PATH=/usr/bin:/bin", "OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "LANG=C.UTF-8"}

func (b *bench) close() {
	for _, i := range []*interpreter{b.fork, b.call} {
		i.in.Close()
		_ = i.cmd.Wait()
	}
	b.spares.Close()
	b.demand.Close()
	b.courses.Close()
	for _, h := range b.hosts {
		h.Close()
	}
	os.RemoveAll(b.dir)
}

// pool asks p for one call, as a worker would.
func (b *bench) pool(ctx context.Context, p *pool.Pool) func(seed int) error {
	return func(seed int) error {
		res, err := p.Do(ctx, &jobs.Invocation{
			Course: "c", Version: pool.Current, Data: input(seed),
			Calls: []jobs.Call{{Type: jobs.Question, Name: "cubic", Method: "generate"}},
		})
		if err != nil {
			return err
		}
		b.mu.Lock()
		b.phases[p] = append(b.phases[p], res.Phases)
		b.mu.Unlock()
		if c := res.Calls[0]; c.Outcome != jobs.OK {
			return fmt.Errorf("%s: %s %s", c.Outcome, c.Message, c.Traceback)
		}
		return check(res.Data)
	}
}

func input(seed int) json.RawMessage {
	return fmt.Appendf(nil, `{"params":{},"correct_answers":{},"variant_seed":%d}`, seed)
}

func check(answer []byte) error {
	if !strings.Contains(string(answer), `"det"`) {
		return fmt.Errorf("not the answer: %.200q", answer)
	}
	return nil
}

// spareReady waits until a spare waits that has had time to get there.
func (b *bench) spareReady() error {
	for range 2000 {
		if _, _, waiting := b.spares.Claims(); waiting > 0 {
			time.Sleep(time.Millisecond)
			return nil
		}
		time.Sleep(time.Millisecond)
		if _, forks, _ := b.spares.Claims(); forks == 0 {
			return nil // the very first call makes the shelf
		}
	}
	return errors.New("no spare came")
}

// ask has the interpreter do the work: how is "fork" or "call".
func (i *interpreter) ask(how string) func(seed int) error {
	return func(seed int) error {
		if _, err := fmt.Fprintf(i.in, "%s %s\n", how, input(seed)); err != nil {
			return err
		}
		line, err := i.out.ReadBytes('\n')
		if err != nil {
			return err
		}
		return check(line)
	}
}

// command runs argv with the input on its standard input.
func (b *bench) command(argv ...string) func(seed int) error {
	return func(seed int) error {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = environment
		cmd.Stdin = strings.NewReader("once " + string(input(seed)) + "\n")
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("%s: %w", argv[0], err)
		}
		return check(out)
	}
}

func (b *bench) python() []string {
	return []string{
		"/usr/bin/python3", "-I", "-B", b.dir + "/forker.py", filepath.Join(b.dir, "courses", "c", version, "questions", "cubic", "server.py"),
	}
}

func (b *bench) bwrap() []string {
	return append([]string{
		"bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc",
		"--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
		"--ro-bind", b.dir, b.dir, "--tmpfs", "/tmp/scratch", "--proc", "/proc", "--dev", "/dev",
	}, b.python()...)
}

// runc prepares a bundle and says how to run it.
func (b *bench) runc() ([]string, error) {
	bundle := filepath.Join(b.dir, "bundle")
	if err := os.MkdirAll(bundle+"/rootfs", 0o755); err != nil {
		return nil, err
	}
	spec := exec.Command("runc", "spec", "--bundle", bundle)
	if out, err := spec.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	raw, err := os.ReadFile(bundle + "/config.json")
	if err != nil {
		return nil, err
	}
	var c map[string]any
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	process := c["process"].(map[string]any)
	process["terminal"], process["args"], process["env"] = false, b.python(), environment
	mounts := c["mounts"].([]any)
	for _, d := range []string{"/usr", "/etc", "/lib", "/lib64", "/bin", b.dir} {
		mounts = append(mounts, map[string]any{"destination": d, "type": "bind", "source": d, "options": []string{"rbind", "ro"}})
	}
	c["mounts"] = mounts
	if raw, err = json.Marshal(c); err != nil {
		return nil, err
	}
	if err := os.WriteFile(bundle+"/config.json", raw, 0o644); err != nil {
		return nil, err
	}
	argv := []string{"runc", "--root", b.dir + "/runc", "run", "--bundle", bundle, "prairie-bench"}
	return argv, b.command(argv...)(1)
}
