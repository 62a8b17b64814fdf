// Package durable writes small files so that a crash leaves the old content or
// the new one, never a mixture and never an empty file.
//
// WriteFile does: openat(O_CREAT|O_EXCL) of a hidden temporary name in the same
// directory, write, fsync, rename, fsync of the directory. CreateAfter uses
// link(2) in place of rename, so that exactly one of several creators wins, and
// leaves the directory to a later Sync.
// After a nil error the content survives a power cut. A crash in between leaves
// at most a file whose name begins with TempPrefix; Sweep removes those.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// TempPrefix begins the name of every temporary file of this package.
const TempPrefix = ".tmp-"

// WriteFile replaces path with data, or creates it.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	dir := filepath.Dir(path)
	tmp, err := Temp(dir, data, perm, true)
	if err != nil {
		return err
	}
	if err := Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return err
	}
	return Sync(dir)
}

// WriteFileAfter is WriteFile of a file that refers to names in the directory
// earlier: those are durable before path has its new content. It costs no more
// than WriteFile, because the filesystem commits both at once.
func WriteFileAfter(earlier, path string, data []byte, perm fs.FileMode) error {
	dir := filepath.Dir(path)
	tmp, err := Temp(dir, data, perm, false)
	if err != nil {
		return err
	}
	if err = Sync(tmp, earlier); err == nil {
		err = Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return Sync(dir)
}

// CreateAfter makes path with data after first returned nil, which it runs beside
// its own flush, so that the filesystem commits both at once. An existing path is
// left alone and gives fs.ErrExist. The name is durable only after a later Sync of
// its directory, the content before the name appears.
func CreateAfter(first func() error, path string, data []byte, perm fs.FileMode) error {
	tmp, err := Temp(filepath.Dir(path), data, perm, false)
	if err != nil {
		return err
	}
	flushed := make(chan error, 1)
	go func() { flushed <- Sync(tmp) }()
	if err = errors.Join(first(), <-flushed); err == nil {
		err = os.Link(tmp, path)
	}
	return errors.Join(err, os.Remove(tmp))
}

// Temp writes data to a new temporary file in dir and returns its path; durable
// says whether it is fsynced. On an error nothing is left behind. It makes four
// system calls where os.File makes a dozen, which a push of many blobs feels.
func Temp(dir string, data []byte, perm fs.FileMode, durable bool) (string, error) {
	path := tempName(dir)
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, uint32(perm.Perm()))
	})
	if err != nil {
		return "", &fs.PathError{Op: "create", Path: path, Err: err}
	}
	for err == nil && len(data) > 0 {
		var n int
		n, err = retry(func() (int, error) { return unix.Write(fd, data[:min(len(data), 1<<30)]) })
		data = data[max(n, 0):]
	}
	if err == nil && durable {
		_, err = retry(func() (int, error) { return 0, unix.Fsync(fd) })
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		unix.Unlink(path)
		return "", &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return path, nil
}

func tempName(dir string) string {
	return dir + "/" + TempPrefix + strconv.FormatUint(rand.Uint64()|1<<63, 16)
}

// TempFrom is Temp of what write writes, which is on its way to the disk from then
// on: a later fsync waits for less.
func TempFrom(dir string, perm fs.FileMode, write func(io.Writer) error) (string, error) {
	path := tempName(dir)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return "", err
	}
	if err = errors.Join(write(&early{f: f}), f.Close()); err != nil {
		os.Remove(path)
		return "", err
	}
	return path, nil
}

// early begins to write back what was written.
type early struct {
	f  *os.File
	at int64
}

func (e *early) Write(p []byte) (int, error) {
	n, err := e.f.Write(p)
	_ = unix.SyncFileRange(int(e.f.Fd()), e.at, int64(n), unix.SYNC_FILE_RANGE_WRITE) // advice only
	e.at += int64(n)
	return n, err
}

// Rename is os.Rename of files, without its look at the target.
func Rename(from, to string) error {
	if _, err := retry(func() (int, error) { return 0, unix.Rename(from, to) }); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func retry(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); err != unix.EINTR {
			return n, err
		}
	}
}

// Sync makes the content of files, and the names in directories, durable: all at
// once, so that the filesystem can commit them together.
func Sync(paths ...string) error {
	errs := make([]error, len(paths))
	var wg sync.WaitGroup
	for i, path := range paths {
		wg.Go(func() {
			f, err := os.Open(path)
			if err == nil {
				err = errors.Join(f.Sync(), f.Close())
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// SyncFS makes everything on the filesystem that holds path durable.
func SyncFS(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = unix.Syncfs(int(f.Fd()))
	if err != nil {
		err = fmt.Errorf("syncfs %s: %w", path, err)
	}
	return errors.Join(err, f.Close())
}

// Sweep removes the temporary files in dir that were last written before the
// cutoff. A missing dir is no error.
func Sweep(dir string, before time.Time) error {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range names {
		if !strings.HasPrefix(e.Name(), TempPrefix) {
			continue
		}
		if st, e2 := e.Info(); e2 == nil && st.ModTime().Before(before) {
			if e2 = os.Remove(filepath.Join(dir, e.Name())); !errors.Is(e2, fs.ErrNotExist) { // else its writer or another sweep was first
				err = errors.Join(err, e2)
			}
		}
	}
	return err
}
