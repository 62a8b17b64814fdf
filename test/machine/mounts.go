package machine

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// ownMounts marks a process that Run has started again.
const ownMounts = "PRAIRIE_TEST_OWN_MOUNTS"

// Run is m.Run, for the tests of a package that look at the machine's mounts: what
// tests of other packages mount meanwhile is not to be seen among them, and what
// these mount ends with their last process. The process starts again, under its own
// number, in a mount namespace of its own, whose mounts are shared with those made of
// it as on a machine that systemd runs. Without root it stays where it is.
func Run(m *testing.M) int {
	if os.Geteuid() == 0 && os.Getenv(ownMounts) == "" {
		if err := runAlone(); err != nil {
			fmt.Fprintln(os.Stderr, "a mount namespace for the tests:", err)
			return 1
		}
	}
	return m.Run()
}

func runAlone() error {
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
