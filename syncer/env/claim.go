package env

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// What Unpack writes into lies beside its goal, under a lock that ends with the
// process: without one, nobody is at work there any more.

var unfinished = regexp.MustCompile(`^\.[0-9a-f]{64}-[0-9]+$`)

// claim makes a directory beside dir to work in. release removes it.
func claim(dir string) (tmp string, release func() error, err error) {
	for {
		if tmp, err = os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-"); err != nil {
			return "", nil, err
		}
		f, err := lock(tmp, unix.LOCK_EX)
		if errors.Is(err, fs.ErrNotExist) {
			continue // swept before it was locked
		}
		if err != nil {
			return "", nil, errors.Join(err, os.Remove(tmp))
		}
		return tmp, func() error { return errors.Join(os.RemoveAll(tmp), f.Close()) }, nil
	}
}

// lock locks a directory that is still there.
func lock(dir string, how int) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	here, err := f.Stat()
	there, err2 := os.Lstat(dir)
	if err = errors.Join(err, err2); err != nil || !os.SameFile(here, there) {
		f.Close()
		return nil, errors.Join(err, fs.ErrNotExist)
	}
	return f, nil
}

// Sweep removes what Unpack left half done in dir in processes that were killed.
func Sweep(dir string) error {
	all, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, d := range all {
		if !d.IsDir() || !unfinished.MatchString(d.Name()) {
			continue
		}
		f, err := lock(filepath.Join(dir, d.Name()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(os.RemoveAll(filepath.Join(dir, d.Name())), f.Close()); err != nil {
			return fmt.Errorf("sweep %s: %w", dir, err)
		}
	}
	return nil
}
