package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A program that was written for a container expects to be its root: to own files
// of several users there, and to become one that may do less. Such a program gets
// a user namespace with 65,536 ids that are its slot's alone and nobody's outside.

// A slot's range follows from its user id, which no other slot of the machine has: one
// of as many as fit between a Tree's and the end of all ids.
const (
	idsEach    = 1 << 16
	slotRanges = 1 << 15
)

// HasUsers says whether programs can have users of their own here: in tier root.
func (h *Host) HasUsers() bool { return h.tier == TierRoot }

// ExecAsRoot is Exec for a program in an environment that is to be root among users
// of its own, with the walls of a Tree's. The spec's Scratch is given to that root;
// its mounts and its input are not for such programs. Serve is as in TreeSpec.
func (h *Host) ExecAsRoot(ctx context.Context, spec Spec, c Command, serve func(net.Listener)) (*Box, error) {
	if !h.HasUsers() {
		return nil, fmt.Errorf("start a program as root: tier %s has no users to give", h.tier)
	}
	b, ends, err := h.newBox(ctx, spec.Limits)
	if err != nil {
		return nil, err
	}
	defer ends.close()
	unix.Close(b.conn)
	b.conn, b.told = -1, spec.Output
	base := TreeBaseID + (b.slot.uid%slotRanges+1)*idsEach
	root := c.Root
	s := &treeSeal{
		Host: &root, At: spec.Scratch.at, Tmp: spec.Limits.Files, Hidden: []string{"/dev/shm"}, LastCap: h.walls.LastCap,
		Rlimits: append([]rlimit{{unix.RLIMIT_CPU, cpuSeconds(spec.Limits.CPU)}}, treeRlimits...),
	}
	if s.Filter, err = treeFilter(false); err != nil {
		b.Close()
		return nil, err
	}
	scratch, err := spec.Scratch.clone(base)
	if err != nil {
		b.Close()
		return nil, err
	}
	files := []*os.File{scratch}
	defer func() { closeAll(files) }()
	if root.Tree != "" { // whoever is root inside may not walk down to it
		fd, err := openTree(unix.AT_FDCWD, root.Tree, 0)
		if err != nil {
			b.Close()
			return nil, fmt.Errorf("open the environment: %w", err)
		}
		files = append(files, os.NewFile(uintptr(fd), root.Tree))
		root.Tree, s.Env = envAt, true
	}
	if err := b.becomeRoot(ctx, base, s, stageConfig{Argv: c.Argv, Env: c.Env, Dir: c.Dir}, serve, ends, files); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// usersAttr is a process that is root of 65,536 ids from base on.
func usersAttr(base int) *syscall.SysProcAttr {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: base, Size: idsEach}}
	return &syscall.SysProcAttr{
		Setsid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWUSER,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{},
	}
}
