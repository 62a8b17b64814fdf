package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	_ "embed"

	"golang.org/x/sys/unix"
)

// SealPy is the Python side of sealing; a zygote's root must hold it.
//
//go:embed seal.py
var SealPy []byte

// startStage starts this program again as a stage and hands it its
// configuration. extra become the stage's descriptors from firstFD on.
func (h *Host) startStage(c stageConfig, attr *syscall.SysProcAttr, stdio [3]*os.File, extra []*os.File) (*exec.Cmd, error) {
	c.RootDir = h.dir + "/root"
	c.KeepProc = h.walls.Userns
	conf, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"prairielambda", stageArg}, Env: []string{}}
	cmd.Dir = "/"
	cmd.ExtraFiles = append([]*os.File{r}, extra...)
	if stdio[0] != nil {
		cmd.Stdin = stdio[0]
	}
	if stdio[1] != nil {
		cmd.Stdout = stdio[1]
	}
	if stdio[2] != nil {
		cmd.Stderr = stdio[2]
	}
	attr.Pdeathsig = syscall.SIGKILL
	attr.Cloneflags |= syscall.CLONE_NEWNS
	cmd.SysProcAttr = attr
	err = h.spawner.do(cmd.Start)
	r.Close()
	if err != nil {
		return nil, fmt.Errorf("start a sandbox stage: %w", err)
	}
	if _, err := w.Write(conf); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("configure a sandbox stage: %w", err)
	}
	return cmd, nil
}

// socketpair makes a connected pair; ours does not block, theirs does.
func socketpair(kind int) (ours int, theirs *os.File, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	return p[0], os.NewFile(uintptr(p[1]), "sandbox"), nil
}
