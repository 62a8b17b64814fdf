package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/prairielambda/prairielambda/chunkfs"
	"github.com/prairielambda/prairielambda/internal/cli"
)

// readyEnv names the descriptor on which a background child says that it serves.
const readyEnv = "CHUNKFS_READY_FD"

// startInBackground runs the same command without --background in a session of
// its own and returns when the mount answers. What the child wrote by then is our error.
func (m *mountFlags) startInBackground(ctx context.Context, env *cli.Env, point string) error {
	if m.logFile == "" {
		m.logFile = m.cache + ".log"
	}
	logs, err := os.OpenFile(m.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log file: %w", err)
	}
	defer logs.Close()
	start, err := logs.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("log file: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start in background: %w", err)
	}
	defer r.Close()
	binary, err := ownBinary()
	if err != nil {
		return err
	}
	child := exec.Command("/proc/self/exe")
	child.Args = append(append([]string{binary, "mount"}, m.args(env.Log.GetLevel())...), "--", point)
	child.Dir = "/"
	child.Env = append(os.Environ(), readyEnv+"=3")
	child.ExtraFiles = []*os.File{w}
	child.Stderr = logs
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		w.Close()
		return fmt.Errorf("start in background: %w", err)
	}
	w.Close()
	said, err := io.ReadAll(r) // ends when the child is ready, or dead
	if string(said) != "ready" {
		werr := child.Wait()
		code := cli.ExitFailed
		var exit *exec.ExitError
		if errors.As(werr, &exit) && exit.ExitCode() > 0 {
			code = exit.ExitCode()
		}
		return cli.WithCode(code, errors.Join(errors.New(lastLine(m.logFile, start)), err))
	}
	if err := chunkfs.Answers(ctx, point); err != nil {
		return err
	}
	return child.Process.Release()
}

// tellReady ends the wait of a parent, if there is one.
func tellReady() {
	fd, err := strconv.Atoi(os.Getenv(readyEnv))
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), "ready")
	_, _ = f.WriteString("ready")
	f.Close()
}

func lastLine(path string, from int64) string {
	f, err := os.Open(path)
	if err != nil {
		return "the mount did not start"
	}
	defer f.Close()
	b, _ := io.ReadAll(io.NewSectionReader(f, from, 1<<20))
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
