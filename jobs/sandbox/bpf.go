package sandbox

import (
	"encoding/binary"
	"fmt"
	"sort"

	"golang.org/x/sys/unix"
)

// A seccomp filter is a program of classic BPF. The kernel runs it for every
// possible syscall number when it is installed (to learn which are always
// allowed), so what counts is the length of its paths, not its size: ours is a
// binary search over ranges of equal verdicts.

// verdict is what happens to a syscall: a block of BPF that ends in returns.
type verdict []bpfInsn

type bpfInsn struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

// Offsets in struct seccomp_data (linux/seccomp.h), little-endian machines.
const (
	dataNr   = 0
	dataArch = 4
	dataArgs = 16
)

func ret(action uint32) verdict { return verdict{{unix.BPF_RET | unix.BPF_K, 0, 0, action}} }

func allow() verdict            { return ret(unix.SECCOMP_RET_ALLOW) }
func fail(e unix.Errno) verdict { return ret(unix.SECCOMP_RET_ERRNO | uint32(e)) }

func loadArg(n int) bpfInsn {
	return bpfInsn{unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, 0, 0, uint32(dataArgs + 8*n)}
}

// argIn gives yes when the low half of argument n is one of values, else no.
// Only ints and flags are ever compared: the kernel ignores their high halves.
func argIn(n int, values []uint32, yes, no verdict) verdict {
	v := verdict{loadArg(n)}
	for i, want := range values {
		// Jump over the remaining compares and the no block.
		v = append(v, bpfInsn{unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, uint8(len(values) - 1 - i + len(no)), 0, want})
	}
	return append(append(v, no...), yes...)
}

// argAny gives yes when the low half of argument n has a bit of mask, else no.
func argAny(n int, mask uint32, yes, no verdict) verdict {
	v := verdict{loadArg(n), {unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, uint8(len(no)), 0, mask}}
	return append(append(v, no...), yes...)
}

// assemble builds the filter: rules by syscall number, otherwise for every other
// number. A caller of another architecture's table is killed.
func assemble(arch uint32, rules map[uint32]verdict, otherwise verdict) ([]byte, error) {
	type span struct {
		from uint32
		v    verdict
	}
	nrs := make([]uint32, 0, len(rules))
	for nr := range rules {
		nrs = append(nrs, nr)
	}
	sort.Slice(nrs, func(i, j int) bool { return nrs[i] < nrs[j] })
	spans := []span{{0, otherwise}}
	put := func(from uint32, v verdict) {
		last := &spans[len(spans)-1]
		switch {
		case last.from == from:
			last.v = v
		case !equalVerdict(last.v, v):
			spans = append(spans, span{from, v})
		}
	}
	for _, nr := range nrs {
		put(nr, rules[nr])
		put(nr+1, otherwise)
	}
	var search func(s []span) verdict
	search = func(s []span) verdict {
		if len(s) == 1 {
			return s[0].v
		}
		mid := len(s) / 2
		low, high := search(s[:mid]), search(s[mid:])
		jge := bpfInsn{unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, 0, 0, s[mid].from}
		head := verdict{jge}
		if len(low) < 256 {
			head[0].jt = uint8(len(low))
		} else { // a conditional jump reaches 255 instructions, an unconditional one any
			head[0].jf = 1
			head = append(head, bpfInsn{unix.BPF_JMP | unix.BPF_JA, 0, 0, uint32(len(low))})
		}
		return append(append(head, low...), high...)
	}
	prog := verdict{
		{unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, 0, 0, dataArch},
		{unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, 1, 0, arch},
		{unix.BPF_RET | unix.BPF_K, 0, 0, unix.SECCOMP_RET_KILL_PROCESS},
		{unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, 0, 0, dataNr},
	}
	prog = append(prog, search(spans)...)
	if len(prog) > unix.BPF_MAXINSNS {
		return nil, fmt.Errorf("seccomp filter of %d instructions: the kernel takes %d", len(prog), unix.BPF_MAXINSNS)
	}
	return prog.bytes(), nil
}

func equalVerdict(a, b verdict) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// bytes is the array of struct sock_filter that the kernel takes.
func (v verdict) bytes() []byte {
	b := make([]byte, 0, 8*len(v))
	for _, i := range v {
		b = binary.NativeEndian.AppendUint16(b, i.code)
		b = append(b, i.jt, i.jf)
		b = binary.NativeEndian.AppendUint32(b, i.k)
	}
	return b
}
