// Package stack runs the real programs together, as an operator would: syncer,
// chunkfs, worker and scheduler as processes of their own, on loopback, with a
// dir:// store. Tests and benchmarks stand on it.
package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Build brings our programs in the repository's bin up to date, as `make build`
// does, and copies them into a folder of its own below dir, which it returns. Where
// they are up to date nothing is linked, and that is nearly all that a build takes.
func Build(dir string, programs ...string) (bin string, err error) {
	_, file, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(file), "../../..")
	args := []string{"build", "-trimpath", "-tags", "disable_grpc_modules", "-o", "bin/"}
	for _, p := range programs {
		args = append(args, "./cmd/"+p)
	}
	free, err := alone(filepath.Join(root, "bin"))
	if err != nil {
		return "", err
	}
	defer free()
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	bin = filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	for _, p := range programs {
		if out, err := exec.Command("cp", filepath.Join(root, "bin", p), bin).CombinedOutput(); err != nil {
			return "", fmt.Errorf("copy %s: %w: %s", p, err, out)
		}
	}
	return bin, nil
}

// alone waits until no other test builds into dir or copies from it.
func alone(dir string) (free func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

// Stack is one set of running programs.
type Stack struct {
	Dir     string // holds store, cache, mount point and logs
	Bin     string
	Store   string // URL
	Mount   string
	Worker  string // base URL
	Gateway string // base URL

	mu    sync.Mutex // guards procs
	procs []*exec.Cmd
}

// New prepares a stack below dir with the programs of bin; nothing runs yet.
func New(dir, bin string) *Stack {
	return &Stack{Dir: dir, Bin: bin, Store: "dir://" + filepath.Join(dir, "store"), Mount: filepath.Join(dir, "mnt")}
}

// Run runs one program to its end and returns its standard output.
func (s *Stack) Run(name string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.Command(filepath.Join(s.Bin, name), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// Push pushes the git repository at path and returns the version.
func (s *Stack) Push(course, path string) (version string, err error) {
	out, err := s.Run("syncer", "push", "--store", s.Store, "--json", course, path)
	if err != nil {
		return "", err
	}
	var r struct{ Version string }
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		return "", fmt.Errorf("syncer push printed %q: %w", out, err)
	}
	return r.Version, nil
}

// Start mounts the store, then starts a worker and a gateway and waits for both.
func (s *Stack) Start(ctx context.Context, workerArgs ...string) error {
	if err := s.StartMount(); err != nil {
		return err
	}
	if err := s.StartWorker(ctx, workerArgs...); err != nil {
		return err
	}
	addr, err := FreeAddr()
	if err != nil {
		return err
	}
	s.Gateway = "http://" + addr
	if _, err := s.Daemon("scheduler", "serve", "--listen", addr, "--worker", s.Worker); err != nil {
		return err
	}
	return s.await(ctx, s.Gateway+"/readyz")
}

// StartMount mounts the store.
func (s *Stack) StartMount() error {
	if err := os.MkdirAll(s.Mount, 0o755); err != nil {
		return err
	}
	_, err := s.Run("chunkfs", "mount", "--store", s.Store, "--cache", filepath.Join(s.Dir, "cache"), "--cache-size", "1GiB", "--background", s.Mount)
	return err
}

// StartWorker starts a worker on the mount and waits for it.
func (s *Stack) StartWorker(ctx context.Context, args ...string) error {
	addr, err := FreeAddr()
	if err != nil {
		return err
	}
	s.Worker = "http://" + addr
	if _, err := s.Daemon("worker", append([]string{"serve", "--courses", s.Mount, "--listen", addr}, args...)...); err != nil {
		return err
	}
	return s.await(ctx, s.Worker+"/readyz")
}

// Daemon starts a program that runs until Close; its log is <name>.log.
func (s *Stack) Daemon(name string, args ...string) (*exec.Cmd, error) {
	log, err := os.OpenFile(s.Log(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(s.Bin, name), args...)
	cmd.Stdout, cmd.Stderr = log, log
	// What the worker's environment holds must never be seen inside a sandbox.
	cmd.Env = append(os.Environ(), "PRAIRIE_TEST_SECRET=secret-of-"+name)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.procs = append(s.procs, cmd)
	return cmd, nil
}

// Log is the path of a program's log.
func (s *Stack) Log(name string) string { return filepath.Join(s.Dir, name+".log") }

func (s *Stack) await(ctx context.Context, url string) error {
	deadline := time.Now().Add(time.Minute)
	for {
		resp, err := http.Get(url)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode < 300 {
				return nil
			}
			err = errors.New(resp.Status)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %w%s", url, err, s.logs())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Stack) logs() string {
	var b strings.Builder
	for _, name := range []string{"worker", "scheduler"} {
		log, _ := os.ReadFile(s.Log(name))
		fmt.Fprintf(&b, "\n-- %s\n%s", name, log)
	}
	return b.String()
}

// Close ends the programs in the order opposite to their start, then unmounts.
// It reports what would not end.
func (s *Stack) Close() error {
	s.mu.Lock()
	procs := s.procs
	s.procs = nil
	s.mu.Unlock()
	var errs []error
	for i := len(procs) - 1; i >= 0; i-- {
		p := procs[i]
		_ = p.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(30*time.Second, func() { _ = p.Process.Kill() })
		err := p.Wait()
		if !timer.Stop() {
			errs = append(errs, fmt.Errorf("%s did not end within 30 s of SIGTERM: %w", p.Path, err))
		}
	}
	if _, err := os.Stat(s.Mount); err == nil {
		if _, err := s.Run("chunkfs", "umount", s.Mount); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Answer is what the gateway said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Post posts a JSON value (or raw bytes) to a path of the gateway.
func (s *Stack) Post(path string, body any) (*Answer, error) {
	b, raw := body.([]byte)
	if !raw {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	resp, err := http.Post(s.Gateway+path, "application/json", bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(resp.Body)
	return &Answer{resp.StatusCode, resp.Header, b}, err
}

// FreeAddr finds a loopback address that nobody listens on. Its port lies below those
// that the kernel gives to whoever asks for none in particular, so that nobody is
// given it until our program listens there, nor while it is started again.
func FreeAddr() (string, error) {
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(10_000))); err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}
