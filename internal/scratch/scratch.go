// Package scratch gives a process directories to work in that nobody has to tidy
// up after it: a process that was killed leaves its directory without the lock
// that ended with it, and whoever comes next removes it.
//
// It never removes what a living process holds, what another user owns, or what
// lies behind a symbolic link.
package scratch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Dir is a directory in use. Close removes it.
type Dir struct {
	Path string
	lock *os.File // the directory
}

// New makes a directory in dir, named by pattern as by os.MkdirTemp.
func New(dir, pattern string) (*Dir, error) {
	for range 100 {
		path, err := os.MkdirTemp(dir, pattern)
		if err != nil {
			return nil, err
		}
		if d := Hold(path); d != nil {
			return d, nil
		} // else somebody's sweep came before the lock, and removes it
	}
	return nil, fmt.Errorf("lock a directory in %s: another process takes each", dir)
}

// Close removes the directory and all that is in it.
func (d *Dir) Close() error { return errors.Join(os.RemoveAll(d.Path), d.lock.Close()) }

// Sweep removes from dir what killed processes left of the names that are ours. One
// that cannot be removed does not keep the others.
func Sweep(dir string, ours func(name string) bool) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	for _, name := range names {
		if !ours(name) {
			continue
		}
		if d := Hold(filepath.Join(dir, name)); d != nil {
			err = errors.Join(err, d.Close())
		}
	}
	if err != nil {
		return fmt.Errorf("sweep %s: %w", dir, err)
	}
	return nil
}

// Hold takes a directory of ours, one that a killed process left; nil if somebody
// has it, or removed it meanwhile.
func Hold(path string) *Dir {
	f, err := os.OpenFile(path, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	var held, there unix.Stat_t
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil ||
		unix.Fstat(int(f.Fd()), &held) != nil || unix.Lstat(path, &there) != nil ||
		held.Ino != there.Ino || held.Dev != there.Dev || int(held.Uid) != os.Geteuid() {
		f.Close()
		return nil
	}
	return &Dir{path, f}
}
