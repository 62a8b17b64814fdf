package sandbox

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Within says whether the root filesystem at root has path, following links as a
// process inside would.
func Within(root, path string) bool {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(dir)
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	fd, err := unix.Openat2(dir, strings.TrimPrefix(path, "/"), how)
	for err == unix.EAGAIN { // a link with ".." in it, and somewhere something is renamed or mounted
		fd, err = unix.Openat2(dir, strings.TrimPrefix(path, "/"), how)
	}
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}
