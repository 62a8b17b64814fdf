package sandbox

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// runBPF interprets a filter as the kernel does: the oracle for what we assemble.
func runBPF(t testing.TB, prog []byte, arch, nr uint32, args [6]uint64) uint32 {
	t.Helper()
	data := make([]byte, 64)
	binary.NativeEndian.PutUint32(data[0:], nr)
	binary.NativeEndian.PutUint32(data[4:], arch)
	for i, a := range args {
		binary.NativeEndian.PutUint64(data[16+8*i:], a)
	}
	n := len(prog) / 8
	var acc uint32
	for pc, steps := 0, 0; pc < n; steps++ {
		require.Less(t, steps, n, "a filter only jumps forward")
		i := prog[8*pc:]
		code, jt, jf, k := binary.NativeEndian.Uint16(i), int(i[2]), int(i[3]), binary.NativeEndian.Uint32(i[4:])
		pc++
		branch := func(yes bool) {
			if yes {
				pc += jt
			} else {
				pc += jf
			}
		}
		switch code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			require.LessOrEqual(t, k, uint32(60))
			acc = binary.NativeEndian.Uint32(data[k:])
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			branch(acc == k)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			branch(acc >= k)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			branch(acc&k != 0)
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(k)
		case unix.BPF_RET | unix.BPF_K:
			return k
		default:
			t.Fatalf("instruction %#x", code)
		}
	}
	t.Fatal("the filter ends without a verdict")
	return 0
}

func errnoAction(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// combine is the kernel's rule for stacked filters: the strictest verdict wins.
// Among ours, allow is the laxest and errno comes before it.
func combine(first, last uint32) uint32 {
	if last == unix.SECCOMP_RET_ALLOW {
		return first
	}
	return last
}

// expected is what a sealed program gets, written from the tables by hand.
func expected(nr uint32, args [6]uint64, memfd bool) uint32 {
	const allowed, silently = uint32(unix.SECCOMP_RET_ALLOW), uint32(unix.SECCOMP_RET_ERRNO)
	in := func(v uint64, set ...uint32) bool {
		for _, s := range set {
			if uint32(v) == s {
				return true
			}
		}
		return false
	}
	denied := errnoAction(unix.EPERM)
	switch nr {
	case unix.SYS_CLONE:
		if args[0]&cloneNamespaces != 0 {
			return denied
		}
		return allowed
	case unix.SYS_CLONE3:
		return errnoAction(unix.ENOSYS)
	case unix.SYS_SOCKET:
		if in(args[0], unix.AF_UNIX, unix.AF_INET, unix.AF_INET6) {
			return allowed
		}
		return errnoAction(unix.EAFNOSUPPORT)
	case unix.SYS_IOCTL:
		if in(args[1], unix.TIOCSTI, unix.TIOCLINUX) {
			return denied
		}
		return allowed
	case unix.SYS_FCNTL:
		switch {
		case in(args[1], unix.F_SETLEASE, unix.F_GETLEASE, unix.F_NOTIFY, unix.F_GETLK, unix.F_OFD_GETLK):
			return denied
		case in(args[1], unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_SETLK, unix.F_OFD_SETLKW):
			return silently
		}
		return allowed
	case unix.SYS_FLOCK:
		return silently
	case unix.SYS_PERSONALITY:
		if in(args[0], 0, 0xffffffff) {
			return allowed
		}
		return denied
	case unix.SYS_PRCTL:
		if in(args[0], 1<<31) || !in(
			args[0], unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_GET_PDEATHSIG, unix.PR_GET_DUMPABLE, unix.PR_CAPBSET_READ,
			unix.PR_GET_SECCOMP, unix.PR_GET_NO_NEW_PRIVS, unix.PR_SET_NO_NEW_PRIVS, unix.PR_GET_TID_ADDRESS, unix.PR_SET_TIMERSLACK,
			unix.PR_GET_TIMERSLACK, unix.PR_SET_VMA, unix.PR_SET_THP_DISABLE, unix.PR_GET_THP_DISABLE, unix.PR_SET_CHILD_SUBREAPER,
			unix.PR_GET_CHILD_SUBREAPER, unix.PR_GET_KEEPCAPS,
		) {
			return denied
		}
		return allowed
	case unix.SYS_MEMFD_CREATE:
		if memfd {
			return allowed
		}
		return errnoAction(unix.ENOSYS)
	}
	for _, a := range append(append([]uint32{}, allowedSyscalls...), allowedSyscallsArch...) {
		if nr == a {
			return allowed
		}
	}
	for _, a := range setupSyscalls {
		if nr == a {
			return denied
		}
	}
	return errnoAction(unix.ENOSYS)
}

func TestSeccompVerdicts(t *testing.T) {
	const x32 = 0x40000000
	args := [][6]uint64{{}}
	values := []uint64{
		1, 2, 5, 10, 16, 17, 29, 36, 37, 38, 40, 1024, 1025, 1026, 0x20000000, 0x10000000, 0x02000000, unix.TIOCSTI, unix.TIOCLINUX,
		0xffffffff, 1 << 31, 1<<63 | 1, 1<<32 | unix.TIOCSTI, 1<<32 | 0x10000000,
	}
	for _, v := range values {
		args = append(args, [6]uint64{v}, [6]uint64{0, v}, [6]uint64{v, v})
	}
	for _, memfd := range []bool{true, false} {
		p, err := newSeccompPolicy(memfd)
		require.NoError(t, err)
		check := func(nr uint32, a [6]uint64) {
			want := expected(nr, a, memfd)
			sealed := combine(runBPF(t, p.Base, auditArch, nr, a), runBPF(t, p.Seal, auditArch, nr, a))
			whole := runBPF(t, p.Whole, auditArch, nr, a)
			// What only set-up needed is EPERM under two filters and ENOSYS under one: no either way.
			if want == errnoAction(unix.EPERM) && whole == errnoAction(unix.ENOSYS) {
				whole = want
			}
			if sealed != want || whole != want {
				t.Fatalf("syscall %d args %x: sealed %#x whole %#x, want %#x", nr, a, sealed, whole, want)
			}
		}
		for nr := range uint32(1024) {
			for _, a := range args {
				check(nr, a)
			}
			require.Equal(t, errnoAction(unix.ENOSYS), combine(runBPF(t, p.Base, auditArch, nr|x32, args[0]), runBPF(t, p.Seal, auditArch, nr|x32, args[0])))
			require.Equal(t, errnoAction(unix.ENOSYS), runBPF(t, p.Whole, auditArch, nr|x32, args[0]))
		}
		for _, nr := range []uint32{1 << 31, 0xffffffff, 5000} {
			require.Equal(t, errnoAction(unix.ENOSYS), runBPF(t, p.Base, auditArch, nr, args[0]))
		}
		// Another architecture's table (int 0x80 on amd64) ends the process.
		require.Equal(t, uint32(unix.SECCOMP_RET_KILL_PROCESS), runBPF(t, p.Base, unix.AUDIT_ARCH_I386, 1, args[0]))
		require.Equal(t, uint32(unix.SECCOMP_RET_KILL_PROCESS), runBPF(t, p.Whole, unix.AUDIT_ARCH_I386, 1, args[0]))
	}
}

// Every address is reached by the assembled search, whatever the rules are.
func TestAssembleAgainstAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		rules := map[uint32]verdict{}
		for range r.IntN(300) {
			nr := uint32(r.IntN(500))
			switch r.IntN(4) {
			case 0:
				rules[nr] = allow()
			case 1:
				rules[nr] = fail(unix.Errno(r.IntN(100)))
			case 2:
				rules[nr] = argIn(0, []uint32{uint32(r.IntN(4)), uint32(r.IntN(4))}, allow(), fail(unix.EPERM))
			default:
				rules[nr] = argAny(1, uint32(r.IntN(8)), fail(unix.EPERM), allow())
			}
		}
		rules[r.Uint32()] = allow() // also at the far end of the numbers
		prog, err := assemble(auditArch, rules, fail(unix.ENOSYS))
		require.NoError(t, err)
		for nr := range uint32(520) {
			checkAssembled(t, prog, rules, nr, [6]uint64{uint64(r.IntN(4)), uint64(r.IntN(8))})
		}
		for nr := range rules {
			checkAssembled(t, prog, rules, nr, [6]uint64{})
		}
	}
}

// checkAssembled runs one verdict block alone and compares.
func checkAssembled(t testing.TB, prog []byte, rules map[uint32]verdict, nr uint32, args [6]uint64) {
	t.Helper()
	v, ok := rules[nr]
	if !ok {
		v = fail(unix.ENOSYS)
	}
	require.Equal(t, runBPF(t, v.bytes(), auditArch, nr, args), runBPF(t, prog, auditArch, nr, args), "syscall %d", nr)
}

func FuzzAssemble(f *testing.F) {
	f.Add([]byte{1, 0, 2, 9, 3, 200}, uint32(3), uint64(1))
	f.Fuzz(func(t *testing.T, spec []byte, nr uint32, arg uint64) {
		rules := map[uint32]verdict{}
		for i := 0; i+1 < len(spec) && i < 1000; i += 2 {
			n := uint32(spec[i]) | uint32(i%3)<<8
			if spec[i+1]%2 == 0 {
				rules[n] = fail(unix.Errno(spec[i+1]))
			} else {
				rules[n] = argIn(0, []uint32{uint32(spec[i+1])}, allow(), fail(unix.EPERM))
			}
		}
		prog, err := assemble(auditArch, rules, allow())
		require.NoError(t, err)
		v, ok := rules[nr]
		if !ok {
			v = allow()
		}
		require.Equal(t, runBPF(t, v.bytes(), auditArch, nr, [6]uint64{arg}), runBPF(t, prog, auditArch, nr, [6]uint64{arg}))
	})
}
