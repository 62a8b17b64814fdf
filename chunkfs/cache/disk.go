package cache

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/prairielambda/prairielambda/internal/blob"
	"golang.org/x/sys/unix"
)

const (
	blobsDir  = "blobs"
	tmpPrefix = ".tmp-"
	badSuffix = ".bad"
)

// disk is the directory of files named by digest. One flat directory: a hundred
// thousand names are nothing to a hashed directory, and 256 shards of one block
// each would cost a small cache half its cap.
type disk struct {
	root   string
	dir    *os.File // blobs/
	fd     int      // of dir
	faults *faults
}

// faults lets a test fail one kind of system call; nil fails none.
type faults struct {
	write func(name string) error
	read  func(name string) error
}

func (f *faults) onWrite(name string) error {
	if f == nil || f.write == nil {
		return nil
	}
	return f.write(name)
}

func (f *faults) onRead(name string) error {
	if f == nil || f.read == nil {
		return nil
	}
	return f.read(name)
}

func openDisk(root string, f *faults) (*disk, error) {
	dir, err := os.Open(filepath.Join(root, blobsDir))
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	return &disk{root: root, dir: dir, fd: int(dir.Fd()), faults: f}, nil
}

func (k *disk) close() { k.dir.Close() }

func (k *disk) open(name string, flags int) (*os.File, error) {
	for {
		fd, err := unix.Openat(k.fd, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

func (k *disk) read(d blob.Digest) ([]byte, error) {
	f, err := k.openToRead(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, st.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, err
	}
	return data, nil
}

func (k *disk) readAt(d blob.Digest, p []byte, off int64) error {
	f, err := k.openToRead(d)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.ReadAt(p, off)
	return err
}

func (k *disk) openToRead(d blob.Digest) (*os.File, error) {
	if err := k.faults.onRead(d.String()); err != nil {
		return nil, err
	}
	return k.open(d.String(), unix.O_RDONLY)
}

// write puts data beside its place and renames it, and returns what it cost.
func (k *disk) write(d blob.Digest, data []byte) (allocated int64, err error) {
	tmp := tmpPrefix + d.String()
	f, err := k.open(tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	if err != nil {
		return 0, err
	}
	defer func() {
		f.Close()
		if err != nil {
			_ = unix.Unlinkat(k.fd, tmp, 0)
		}
	}()
	if err := k.faults.onWrite(d.String()); err != nil {
		return 0, err
	}
	if _, err := f.Write(data); err != nil {
		return 0, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, fmt.Errorf("stat cache file: %w", err)
	}
	if err := unix.Renameat(k.fd, tmp, k.fd, d.String()); err != nil {
		return 0, fmt.Errorf("rename cache file: %w", err)
	}
	return st.Blocks * 512, nil
}

func (k *disk) stat(d blob.Digest) (allocated int64, ok bool) {
	var st unix.Stat_t
	if err := unix.Fstatat(k.fd, d.String(), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, false
	}
	return st.Blocks * 512, true
}

func (k *disk) remove(name string) { _ = unix.Unlinkat(k.fd, name, 0) }

// setAside renames a bad file and returns what it occupies; under its own name
// it removes it. ok says that there is a file of the new name.
func (k *disk) setAside(d blob.Digest, name string) (allocated int64, ok bool) {
	allocated, ok = k.stat(d)
	if ok && name != d.String() && unix.Renameat(k.fd, d.String(), k.fd, name) == nil {
		return allocated, true
	}
	k.remove(d.String())
	return 0, false
}

// overhead is what the directories and the lock file cost.
func (k *disk) overhead() (n int64) {
	for _, p := range []string{k.root, filepath.Join(k.root, blobsDir), filepath.Join(k.root, "lock"), filepath.Join(k.root, "profiles.json")} {
		var st unix.Stat_t
		if unix.Lstat(p, &st) == nil {
			n += st.Blocks * 512
		}
	}
	return n
}

// free reports whether the disk has need bytes and an inode beyond what others are to keep.
func (k *disk) free(need, minBytes, minFiles int64) bool {
	if minBytes == 0 && minFiles == 0 {
		return true
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(k.fd, &st); err != nil {
		return true // the write itself will tell
	}
	return int64(st.Bavail)*st.Bsize-need >= minBytes && (st.Files == 0 || int64(st.Ffree)-1 >= minFiles)
}

// parseName tells a blob (bad is empty), a quarantined blob and a leftover apart.
func parseName(name string) (d blob.Digest, bad string, ok bool) {
	hex := name
	if strings.HasSuffix(name, badSuffix) {
		hex, _, _ = strings.Cut(name, ".")
		bad = name
	}
	d, err := blob.ParseDigest(hex)
	return d, bad, err == nil
}

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
