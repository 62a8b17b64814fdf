package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"golang.org/x/sys/unix"
)

// Root describes the read-only file tree that a sandbox sees: binds of the
// host's directories, and a few files and links made for it. Whatever it does
// not name is not there.
type Root struct {
	Binds []string          `json:"binds"` // host paths shown at the same place; those that do not exist are left out
	Links map[string]string `json:"links"` // symbolic links: path -> target
	Files map[string][]byte `json:"files"` // small files; their directories are made
	Dirs  []string          `json:"dirs"`  // empty directories to mount on
	Tree  string            `json:"tree"`  // an environment, shown beside the rest; see EnvRoot
}

// HostRoot shows the programs and libraries that this machine has installed,
// and of its configuration only what libraries look up.
func HostRoot() Root {
	r := Root{
		Binds: []string{
			"/usr", "/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
			"/etc/localtime", "/etc/mime.types", "/etc/python3", "/etc/python3.11", "/etc/python3.12", "/etc/python3.13",
			"/etc/java-17-openjdk", "/etc/java-21-openjdk", "/etc/php", "/etc/perl", "/etc/terminfo", "/etc/magic",
		},
		Links: map[string]string{
			"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
			"/dev/stderr": "/proc/self/fd/2", "/var/tmp": "/tmp",
		},
		Files: map[string][]byte{
			"/etc/passwd":        []byte("root:x:0:0::/:/usr/sbin/nologin\nlambda:x:65534:65534::/tmp:/usr/sbin/nologin\n"),
			"/etc/group":         []byte("root:x:0:\nlambda:x:65534:\n"),
			"/etc/hosts":         []byte("127.0.0.1 localhost sandbox\n::1 localhost\n"),
			"/etc/hostname":      []byte("sandbox\n"),
			"/etc/nsswitch.conf": []byte("passwd: files\ngroup: files\nhosts: files\n"),
			"/etc/resolv.conf":   nil,
		},
		Dirs: []string{"/proc", "/tmp", "/dev/shm", "/course", "/var", "/run"},
	}
	// Where /bin is a link into /usr it stays one; elsewhere it is shown as it is.
	for _, d := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		if to, err := os.Readlink(d); err == nil {
			r.Links[d] = to
		} else {
			r.Binds = append(r.Binds, d)
		}
	}
	return r
}

// devices are the only nodes below /dev; each is a bind of the host's.
var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

// build makes the tree at dir, an empty directory, in the caller's own mount
// namespace, then makes it the root and lets go of the old one. The caller
// must be single-purpose: its working directory and root change.
func (r Root) build(dir string, keepProc bool) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, "size=16m,nr_inodes=4096,mode=0755"); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	for _, d := range r.Dirs {
		if err := os.MkdirAll(dir+d, 0o755); err != nil {
			return err
		}
	}
	for _, p := range sortedKeys(r.Files) {
		if err := os.MkdirAll(filepath.Dir(dir+p), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(dir+p, r.Files[p], 0o444); err != nil {
			return err
		}
	}
	for _, p := range append(r.Binds, devices...) {
		if err := bindReadOnly(p, dir+p); err != nil {
			return err
		}
	}
	if r.Tree != "" {
		if err := showTree(r.Tree, dir); err != nil {
			return err
		}
	}
	for _, p := range sortedKeys(r.Links) {
		if err := os.MkdirAll(filepath.Dir(dir+p), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(r.Links[p], dir+p); err != nil {
			return err
		}
	}
	if keepProc {
		// A user namespace may mount a new procfs only where it can see a whole one.
		// The child covers it with its own and detaches this one.
		if err := os.Mkdir(dir+hostProc, 0o700); err != nil {
			return err
		}
		if err := unix.Mount("/proc", dir+hostProc, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind /proc: %w", err)
		}
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach the old root: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, ""); err != nil {
		return fmt.Errorf("make the root read-only: %w", err)
	}
	return unix.Chdir("/")
}

// hostProc is where a user-namespace root keeps the outer procfs until a child drops it.
const hostProc = "/.proc"

// bindReadOnly shows host path src at dst. Only the mount of src itself is
// taken, never others that lie below it.
func bindReadOnly(src, dst string) error {
	st, err := os.Stat(src)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("bind %s: %w", src, err)
	}
	if st.IsDir() {
		err = os.MkdirAll(dst, 0o755)
	} else {
		err = errors.Join(os.MkdirAll(filepath.Dir(dst), 0o755), os.WriteFile(dst, nil, 0o444))
	}
	if err != nil {
		return fmt.Errorf("bind %s: %w", src, err)
	}
	fd, err := openTree(unix.AT_FDCWD, src, 0)
	if err != nil {
		return fmt.Errorf("bind %s: %w", src, err)
	}
	defer unix.Close(fd)
	attr := uint64(unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID)
	if st.IsDir() {
		attr |= unix.MOUNT_ATTR_NODEV
	}
	if err := setMountAttr(fd, attr, 0); err != nil {
		return fmt.Errorf("bind %s read-only: %w", src, err)
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, dst, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("bind %s: %w", src, err)
	}
	return nil
}

// openTree makes a detached copy of the mount at path (or of dirfd itself when
// path is empty): a descriptor that can be attached anywhere.
func openTree(dirfd int, path string, flags uint) (int, error) {
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	return unix.OpenTree(dirfd, path, flags|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
}

func setMountAttr(fd int, set, clear uint64) error {
	return unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: set, Attr_clr: clear})
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
