// Package durable writes small files so that a crash leaves the old content or
// the new one, never a mixture and never an empty file.
//
// WriteFile does: openat(O_CREAT|O_EXCL) of a hidden temporary name in the same
// directory, write, fsync, rename, fsync of the directory. Create does the same
// with link(2) in place of rename, so that exactly one of several creators wins.
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
	"time"

	"golang.org/x/sys/unix"
)

// TempPrefix begins the name of every temporary file of this package.
const TempPrefix = ".tmp-"

// WriteFile replaces path with data, or creates it.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return place(path, data, perm, os.Rename)
}

// Create makes path with data; an existing path is left alone and gives fs.ErrExist.
func Create(path string, data []byte, perm fs.FileMode) error {
	return place(path, data, perm, func(tmp, path string) error {
		err := os.Link(tmp, path)
		return errors.Join(err, os.Remove(tmp))
	})
}

func place(path string, data []byte, perm fs.FileMode, move func(tmp, path string) error) error {
	dir := filepath.Dir(path)
	tmp, err := Temp(dir, data, perm, true)
	if err != nil {
		return err
	}
	if err := move(tmp, path); err != nil {
		os.Remove(tmp)
		return err
	}
	return SyncDir(dir)
}

// Temp writes data to a new temporary file in dir and returns its path; with
// sync it is fsynced. On an error nothing is left behind.
func Temp(dir string, data []byte, perm fs.FileMode, sync bool) (string, error) {
	path := filepath.Join(dir, fmt.Sprintf("%s%016x", TempPrefix, rand.Uint64()))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(path)
		return "", err
	}
	return path, nil
}

// SyncFile makes path's content durable, and for a directory its names.
func SyncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// SyncDir makes the names in dir durable.
func SyncDir(dir string) error { return SyncFile(dir) }

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
