package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
// configuration; it returns once the stage has become its program. extra become the stage's descriptors from firstFD on.
func (h *Host) startStage(c stageConfig, attr *syscall.SysProcAttr, stdio [3]*os.File, extra []*os.File) (*exec.Cmd, error) {
	c.RootDir = h.dir + "/root"
	c.KeepProc = h.walls.Userns
	conf, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	ours, theirs, err := socketpair(unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	link := os.NewFile(uintptr(ours), "stage")
	defer link.Close()
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"prairielambda", stageArg}, Env: []string{}}
	cmd.Dir = "/"
	cmd.ExtraFiles = append([]*os.File{theirs}, extra...)
	if stdio[0] != nil { // a nil *os.File in the interface would not mean /dev/null
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
	h.forking.RLock()
	err = h.spawner.do(cmd.Start)
	if err == nil {
		h.remember(cmd.Process.Pid)
	}
	h.forking.RUnlock()
	theirs.Close()
	if err != nil {
		return nil, fmt.Errorf("start a sandbox stage: %w", err)
	}
	// The stage's end of the link closes when it becomes the program; what it
	// says before that is why it could not.
	if c.born != nil {
		err = c.born(cmd.Process.Pid)
	}
	if err == nil {
		_, err = link.Write(conf)
	}
	var said []byte
	if err == nil {
		err = unix.Shutdown(ours, unix.SHUT_WR)
	}
	if err == nil {
		said, err = io.ReadAll(io.LimitReader(link, 4<<10))
	}
	if err == nil && len(said) > 0 {
		err = errors.New(string(said))
	}
	if err != nil {
		h.end(cmd)
		return nil, fmt.Errorf("build a sandbox: %w", err)
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
