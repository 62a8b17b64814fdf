package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

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
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := leaveTheirs(); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return err
	}
	return unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), ownMounts+"=1"))
}

// leaveTheirs takes from the new namespace what was mounted where tests and our
// programs mount when it was made. While such a filesystem is here, it does not end
// when whoever made it unmounts it.
func leaveTheirs() error {
	places := []string{os.TempDir()}
	if cache, err := os.UserCacheDir(); err == nil {
		places = append(places, cache)
	}
	b, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		point := strings.Fields(line)[4]
		if slices.ContainsFunc(places, func(dir string) bool { return strings.HasPrefix(point, filepath.Clean(dir)+"/") }) {
			_ = unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // with all below it, which is met in vain
		}
	}
	return nil
}
