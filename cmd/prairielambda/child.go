package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/prairielambda/prairielambda/jobs"
)

// A child is this same program in a second role. It reads its configuration from
// stdin and answers with one line on stdout when it serves. Stdin stays open as
// long as the parent lives: its end, like a signal, ends the child.

const (
	mountRole  = "prairielambda-mount"
	workerRole = "prairielambda-worker"
)

// childConfig is what a child is told.
type childConfig struct {
	Store     string        `json:"store,omitempty"` // mount
	Cache     string        `json:"cache,omitempty"`
	Point     string        `json:"point"`
	TicketPub []byte        `json:"ticket_pub,omitempty"` // worker
	Tier      string        `json:"tier,omitempty"`
	Python    string        `json:"python,omitempty"`
	Cgroup    string        `json:"cgroup,omitempty"`
	Programs  bool          `json:"programs,omitempty"` // runtimes of programs, too
	Runs      string        `json:"runs,omitempty"`     // where asynchronous runs of them are kept
	Level     zerolog.Level `json:"level"`
}

// childReady is what a child answers.
type childReady struct {
	Address string `json:"address,omitempty"`
	Tier    string `json:"tier,omitempty"`
	Layers  []wall `json:"layers,omitempty"`
	// Runtimes are those of programs.
	Runtimes []jobs.Runtime `json:"runtimes,omitempty"`
	Error    string         `json:"error,omitempty"`
}

type wall struct {
	Name   string `json:"name"`
	On     bool   `json:"on"`
	Remedy string `json:"remedy,omitempty"`
}

// childMain runs a role and exits, in a process that start made.
func childMain() {
	if len(os.Args) != 2 {
		return
	}
	role, ok := map[string]func(context.Context, childConfig, zerolog.Logger, func(childReady)) error{
		mountRole: mountChild, workerRole: workerChild,
	}[os.Args[1]]
	if !ok {
		return
	}
	if os.Args[1] == workerRole {
		enterUserns() // before anything is read: the inner process reads it
	}
	ready := func(r childReady) { _ = json.NewEncoder(os.Stdout).Encode(r) }
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	var cfg childConfig
	if err == nil {
		err = json.Unmarshal(line, &cfg)
	}
	if err != nil {
		os.Exit(2) // the parent is gone already
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	go func() {
		_, _ = io.Copy(io.Discard, in)
		stop()
	}()
	log := zerolog.New(os.Stderr).Level(cfg.Level).With().Timestamp().Str("part", os.Args[1]).Logger()
	if err := role(ctx, cfg, log, ready); err != nil {
		ready(childReady{Error: err.Error()})
		os.Exit(1)
	}
	os.Exit(0)
}

// child is a running child, seen from its parent.
type child struct {
	role  string
	cmd   *exec.Cmd
	stdin io.Closer
	ready childReady
	done  chan struct{} // closed when it has ended
	err   error         // set before
}

// start starts a child and waits until it serves.
func start(ctx context.Context, role string, cfg childConfig, stderr io.Writer) (*child, error) {
	c := &child{role: role, done: make(chan struct{})}
	c.cmd = exec.Command("/proc/self/exe", role)
	c.cmd.Args[0] = os.Args[0]
	c.cmd.Stderr = stderr
	// The child also dies with us where it hangs and cannot see its stdin end. A
	// terminal's ^C is for us alone: a group of its own keeps it from the child.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	c.stdin = stdin
	started := make(chan error, 1)
	said := make(chan childReady, 1)
	go func() {
		runtime.LockOSThread() // the parent-death signal is about this thread; it lives until the child has ended
		if err := c.cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		var r childReady
		if err := json.NewDecoder(stdout).Decode(&r); err != nil {
			r.Error = "it ended before it was ready"
		}
		said <- r
		_, _ = io.Copy(io.Discard, stdout)
		c.err = c.cmd.Wait()
		close(c.done)
		runtime.UnlockOSThread()
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	_ = json.NewEncoder(stdin).Encode(cfg) // one that has ended without it has said why
	select {
	case c.ready = <-said:
	case <-ctx.Done():
		c.stop()
		return nil, context.Cause(ctx)
	}
	if c.ready.Error != "" {
		c.stop()
		return nil, errors.New(c.ready.Error)
	}
	return c, nil
}

// stop ends the child and waits for it.
func (c *child) stop() {
	c.stdin.Close()
	<-c.done
}
