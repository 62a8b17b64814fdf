// Package durable writes small files so that a crash leaves the old content or
// the new one, never a mixture and never an empty file.
//
// WriteFile does: openat(O_CREAT|O_EXCL) of a hidden temporary name in the same
// directory, write, fsync, rename, fsync of the directory. CreateUnsynced uses
// link(2) in place of rename, so that exactly one of several creators wins, and
// leaves the directory to a later Sync.
// After a nil error the content survives a power cut. A crash in between leaves
// at most a file whose name begins with TempPrefix; Sweep removes those.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	if err := os.Rename(tmp, path); err != nil {
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
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return Sync(dir)
}

// CreateUnsynced makes path with data; an existing path is left alone and gives
// fs.ErrExist. The name is durable only after a later Sync of its directory, the
// content before the name appears.
func CreateUnsynced(path string, data []byte, perm fs.FileMode) error {
	tmp, err := Temp(filepath.Dir(path), data, perm, true)
	if err != nil {
		return err
	}
	return errors.Join(os.Link(tmp, path), os.Remove(tmp))
}

// Temp writes data to a new temporary file in dir and returns its path; durable
// says whether it is fsynced. On an error nothing is left behind.
func Temp(dir string, data []byte, perm fs.FileMode, durable bool) (string, error) {
	path := filepath.Join(dir, fmt.Sprintf("%s%016x", TempPrefix, rand.Uint64()))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(path)
		return "", err
	}
	return path, nil
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
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
