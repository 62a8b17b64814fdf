package sandbox

import (
	"fmt"
	"maps"

	"golang.org/x/sys/unix"
)

// seccompPolicy holds the filters of one tier as the kernel takes them.
type seccompPolicy struct {
	// Base allows what programs need and what sealing needs. A zygote installs it
	// once, every child inherits it.
	Base []byte `json:"base"`
	// Seal takes away again what only sealing needed. A child installs it last.
	Seal []byte `json:"seal"`
	// Whole is both in one, for a program that is sealed before it starts.
	Whole []byte `json:"whole"`
}

// cloneNamespaces are the flags of clone(2) that make namespaces.
const cloneNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// newSeccompPolicy writes the filters. Everything that no table names answers
// ENOSYS, so that C libraries fall back. withMemfd is false where memory cannot
// be bounded by a cgroup: a memfd's pages escape every rlimit.
func newSeccompPolicy(withMemfd bool) (seccompPolicy, error) {
	program := map[uint32]verdict{}
	for _, nr := range append(allowedSyscalls, allowedSyscallsArch...) {
		program[nr] = allow()
	}
	maps.Copy(program, argumentRules())
	if withMemfd {
		program[unix.SYS_MEMFD_CREATE] = allow()
	}
	// The clone flags stand in a register the filter can read; clone3's stand in
	// memory it cannot, so clone3 is only ever allowed to trusted code.
	base, seal := maps.Clone(program), map[uint32]verdict{}
	for _, nr := range setupSyscalls {
		base[nr] = allow()
		if v, ok := program[nr]; ok {
			seal[nr] = v
		} else {
			seal[nr] = fail(unix.EPERM)
		}
	}
	seal[unix.SYS_CLONE3] = fail(unix.ENOSYS)
	program[unix.SYS_CLONE3] = fail(unix.ENOSYS)
	var p seccompPolicy
	for _, f := range []struct {
		into      *[]byte
		rules     map[uint32]verdict
		otherwise verdict
	}{
		{&p.Base, base, fail(unix.ENOSYS)},
		{&p.Seal, seal, allow()},
		{&p.Whole, program, fail(unix.ENOSYS)},
	} {
		b, err := assemble(auditArch, f.rules, f.otherwise)
		if err != nil {
			return p, fmt.Errorf("assemble seccomp filter: %w", err)
		}
		*f.into = b
	}
	return p, nil
}

// setupSyscalls are what sealing a forked child uses and nothing inside may.
var setupSyscalls = []uint32{
	unix.SYS_CLONE3, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_MOVE_MOUNT,
	unix.SYS_MOUNT_SETATTR, unix.SYS_SETRESUID, unix.SYS_SETRESGID, unix.SYS_SETGROUPS, unix.SYS_CAPSET,
	unix.SYS_SETHOSTNAME, unix.SYS_LANDLOCK_CREATE_RULESET, unix.SYS_LANDLOCK_ADD_RULE,
	unix.SYS_LANDLOCK_RESTRICT_SELF, unix.SYS_SECCOMP, unix.SYS_PRCTL,
}

// argumentRules are syscalls that depend on an argument.
func argumentRules() map[uint32]verdict {
	deny := fail(unix.EPERM)
	return map[uint32]verdict{
		unix.SYS_CLONE: argAny(0, cloneNamespaces, deny, allow()),
		// Addresses of the machine's own kind, and unix sockets; no netlink,
		// packet, vsock, alg or anything newer.
		unix.SYS_SOCKET: argIn(0, []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6}, allow(), fail(unix.EAFNOSUPPORT)),
		// Pushing input into a terminal, and the console's own paste buffer.
		unix.SYS_IOCTL: argIn(1, []uint32{unix.TIOCSTI, unix.TIOCLINUX}, deny, allow()),
		// Locks, leases and directory notifications: equal files of two course
		// versions share an inode, so they would be seen across sandboxes. Taking a
		// lock succeeds and does nothing, since programs take them on files of their
		// own that nobody else can see.
		unix.SYS_FCNTL: argIn(1, []uint32{unix.F_SETLEASE, unix.F_GETLEASE, unix.F_NOTIFY, unix.F_GETLK, unix.F_OFD_GETLK}, deny,
			argIn(1, []uint32{unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_SETLK, unix.F_OFD_SETLKW}, fail(0), allow())),
		unix.SYS_FLOCK: fail(0),
		// Asking for the execution domain, or for the native one.
		unix.SYS_PERSONALITY: argIn(0, []uint32{0, 0xffffffff}, allow(), deny),
		unix.SYS_PRCTL: argIn(0, []uint32{
			unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_GET_PDEATHSIG, unix.PR_GET_DUMPABLE, unix.PR_CAPBSET_READ,
			unix.PR_GET_SECCOMP, unix.PR_GET_NO_NEW_PRIVS, unix.PR_SET_NO_NEW_PRIVS, unix.PR_GET_TID_ADDRESS,
			unix.PR_SET_TIMERSLACK, unix.PR_GET_TIMERSLACK, unix.PR_SET_VMA, unix.PR_SET_THP_DISABLE,
			unix.PR_GET_THP_DISABLE, unix.PR_SET_CHILD_SUBREAPER, unix.PR_GET_CHILD_SUBREAPER, unix.PR_GET_KEEPCAPS,
		}, allow(), deny),
	}
}
