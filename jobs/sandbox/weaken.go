//go:build weaken

package sandbox

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Weakenings are the layers that Without can leave out. The uts namespace is not
// among them: sealing sets the host name, which would then be the machine's.
var Weakenings = []string{
	"seccomp", "landlock", "network namespace", "pid namespace", "ipc namespace", "cgroup namespace",
	"own user id", "memory cgroup", "pids cgroup", "rlimits",
}

// Without returns c with one more layer left out. It exists to show what each layer
// stops (test/attacks, TestEachLayerMatters), in binaries built with the tag
// weaken and in no other.
func (c Config) Without(layer string) Config {
	if !slices.Contains(Weakenings, layer) {
		panic(fmt.Sprintf("sandbox: there is no layer %q", layer))
	}
	before := c.weaken
	c.weaken = func(h *Host) {
		if before != nil {
			before(h)
		}
		switch layer {
		case "seccomp":
			all, err := assemble(auditArch, nil, allow())
			if err != nil {
				panic(err)
			}
			h.walls.Seccomp = seccompPolicy{all, all, all}
		case "landlock":
			h.walls.Landlock = landlockPolicy{}
		case "network namespace":
			h.eachSlot(func(s *slot) error { return reopen(&s.net, "/proc/self/ns/net", os.O_RDONLY) })
		case "pid namespace":
			h.walls.Clone &^= unix.CLONE_NEWPID
		case "ipc namespace":
			h.walls.Unshare &^= unix.CLONE_NEWIPC
		case "cgroup namespace":
			h.walls.Unshare &^= unix.CLONE_NEWCGROUP
		case "own user id": // the worker's own, though without a capability
			h.eachSlot(func(s *slot) error { s.uid = 0; return nil })
		case "memory cgroup":
			h.eachSlot(func(s *slot) error { return reopen(&s.cg.memLimit, os.DevNull, os.O_RDWR) })
		case "pids cgroup":
			h.eachSlot(func(s *slot) error { return reopen(&s.cg.pidsMax, os.DevNull, os.O_RDWR) })
		case "rlimits":
			h.fixed = nil
		}
	}
	return c
}

// eachSlot changes the slots, all of which are free.
func (h *Host) eachSlot(f func(*slot) error) {
	for range len(h.free) {
		s := <-h.free
		if err := f(s); err != nil {
			panic(err)
		}
		h.free <- s
	}
}

func reopen(f **os.File, path string, flags int) error {
	(*f).Close()
	var err error
	*f, err = os.OpenFile(path, flags, 0)
	return err
}
