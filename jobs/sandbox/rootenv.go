package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// EnvRoot shows an environment, the root filesystem in the directory tree, in
// place of what the machine has installed. Of its top-level directories those
// that a sandbox has for itself are left out; everything else is shown
// read-only, as it lies there, whoever owns it.
func EnvRoot(tree string) Root {
	return Root{
		Tree: tree,
		Links: map[string]string{
			"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
		},
		Files: map[string][]byte{},
		Dirs:  []string{"/proc", "/sys", "/tmp", "/dev/shm", "/course", "/run"},
	}
}

// ownNames are the top-level names that a sandbox gives meaning to; what an
// environment has there is not shown.
var ownNames = map[string]bool{
	"proc": true, "sys": true, "dev": true, "tmp": true, "run": true, "course": true, "work": true, "prairie": true, "grade": true, ".proc": true,
}

// showTree shows each top-level entry of tree in dir. Links are copied, never
// followed, and come last: nothing is written through them.
func showTree(tree, dir string) error {
	root, err := os.OpenFile(tree, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the environment: %w", err)
	}
	defer root.Close()
	links := map[string]string{}
	for {
		names, err := root.Readdirnames(1000)
		for _, name := range names {
			if ownNames[name] {
				continue
			}
			if err := showEntry(root, name, dir, links); err != nil {
				return fmt.Errorf("show /%s of the environment: %w", name, err)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("list the environment: %w", err)
		}
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func showEntry(root *os.File, name, dir string, links map[string]string) error {
	fd, err := unix.Openat2(int(root.Fd()), name, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if errors.Is(err, unix.ELOOP) { // a link, which O_PATH would open but RESOLVE_NO_SYMLINKS does not
		b := make([]byte, 4096)
		n, err := unix.Readlinkat(int(root.Fd()), name, b)
		links[name] = string(b[:max(n, 0)])
		return err
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	target := filepath.Join(dir, name)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		err = os.Mkdir(target, 0o755)
	case unix.S_IFREG:
		err = os.WriteFile(target, nil, 0o444)
	case unix.S_IFLNK:
		b := make([]byte, 4096)
		n, err := unix.Readlinkat(fd, "", b)
		links[name] = string(b[:max(n, 0)])
		return err
	default:
		return nil // devices, pipes and sockets do nothing here
	}
	if err != nil {
		return err
	}
	tree, err := openTree(fd, "", 0)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	if err := setMountAttr(tree, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, 0); err != nil {
		return err
	}
	return unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}
