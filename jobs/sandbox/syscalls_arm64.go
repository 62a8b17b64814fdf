package sandbox

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// allowedSyscallsArch: arm64 never had the older forms.
var allowedSyscallsArch = []uint32{unix.SYS_FSTATAT}
