package sandbox

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Landlock adds a second, independent answer to "may this be written or
// reached?": writes only below /tmp and /dev/shm and to a few devices, no TCP,
// no abstract sockets or signals that leave the sandbox.

const (
	landlockWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO |
		unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	// Rights that a sandbox has below its own writable directories: no devices.
	landlockOwn = landlockWrite &^ (unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK)

	landlockRefer    = unix.LANDLOCK_ACCESS_FS_REFER                                            // ABI 2
	landlockTruncate = unix.LANDLOCK_ACCESS_FS_TRUNCATE                                         // ABI 3
	landlockNetTCP   = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP // ABI 4
	landlockScopes   = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL    // ABI 6
)

// landlockPolicy is what the sealing code, in Go or in a zygote, hands to the kernel.
type landlockPolicy struct {
	ABI   int            `json:"abi"`   // 0: the kernel has no Landlock
	Attr  []byte         `json:"attr"`  // struct landlock_ruleset_attr as this ABI has it
	Rules []landlockRule `json:"rules"` // rights below a path
}

type landlockRule struct {
	Path   string `json:"path"`
	Access uint64 `json:"access"`
}

func landlockABI() int {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
}

// with lets the sandbox write below path as it does below /tmp.
func (p landlockPolicy) with(path string) landlockPolicy {
	if p.ABI > 0 {
		p.Rules = append([]landlockRule{{path, p.Rules[0].Access}}, p.Rules...)
	}
	return p
}

func newLandlockPolicy(abi int) landlockPolicy {
	if abi == 0 {
		return landlockPolicy{}
	}
	fs, own := uint64(landlockWrite), uint64(landlockOwn)
	if abi >= 2 {
		fs, own = fs|landlockRefer, own|landlockRefer
	}
	file := uint64(unix.LANDLOCK_ACCESS_FS_WRITE_FILE)
	if abi >= 3 {
		fs, own, file = fs|landlockTruncate, own|landlockTruncate, file|landlockTruncate
	}
	attr := binary.NativeEndian.AppendUint64(nil, fs)
	if abi >= 4 {
		attr = binary.NativeEndian.AppendUint64(attr, landlockNetTCP)
	}
	if abi >= 6 {
		attr = binary.NativeEndian.AppendUint64(attr, landlockScopes)
	}
	p := landlockPolicy{ABI: abi, Attr: attr, Rules: []landlockRule{{"/tmp", own}, {"/dev/shm", own}}}
	for _, dev := range []string{"/dev/null", "/dev/zero", "/dev/full"} {
		p.Rules = append(p.Rules, landlockRule{dev, file})
	}
	return p
}
