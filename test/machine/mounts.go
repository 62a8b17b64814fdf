package machine

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ownMounts marks a process that OwnMounts has started again, and its children.
const ownMounts = "PRAIRIE_TEST_OWN_MOUNTS"

// OwnMounts is the beginning of a TestMain whose tests look at the machine's mounts:
// what tests of other packages mount meanwhile is not to be seen among them, and what
// these mount ends with their last process. The process starts again, under its own
// number, in a mount namespace of its own, whose mounts are shared with those made of
// it as on a machine that systemd runs. Where it may not, it stays.
func OwnMounts() {
	if os.Geteuid() != 0 || os.Getenv(ownMounts) != "" {
		return
	}
	if err := startAgain(); !errors.Is(err, unix.EPERM) {
		panic(fmt.Errorf("a mount namespace for the tests: %w", err))
	}
}

// startAgain returns only where it fails.
func startAgain() error {
	runtime.LockOSThread() // which alone has the new namespace, until it is all that is left
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return err
	}
	for _, how := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
		if err := unix.Mount("", "/", "", unix.MS_REC|how, ""); err != nil {
			return err
		}
	}
	return unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), ownMounts+"=1"))
}
