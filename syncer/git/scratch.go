package git

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// scratch is a directory for a git directory of our own. Close removes it. Of a
// process that was killed the next one removes it, by this: whoever uses a scratch
// holds a lock on it, which ends with the process.
type scratch struct {
	path string
	lock *os.File // the directory
}

const scratchPrefix = "prairie-git-"

func newScratch() (*scratch, error) {
	sweep()
	for range 100 {
		path, err := os.MkdirTemp("", scratchPrefix)
		if err != nil {
			return nil, err
		}
		if lock := hold(path); lock != nil {
			return &scratch{path, lock}, nil
		} // else somebody's sweep came before the lock, and removes it
	}
	return nil, fmt.Errorf("lock a directory in %s: another process takes each", os.TempDir())
}

func (s *scratch) Close() error { return errors.Join(os.RemoveAll(s.path), s.lock.Close()) }

// hold locks a directory of ours; nil if somebody has it, or removed it meanwhile.
func hold(path string) *os.File {
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
	return f
}

// sweep removes what killed processes left. What it cannot remove it leaves: the
// push does not need it gone.
func sweep() {
	dir, err := os.Open(os.TempDir())
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if !strings.HasPrefix(name, scratchPrefix) {
			continue
		}
		path := filepath.Join(dir.Name(), name)
		if lock := hold(path); lock != nil {
			_ = (&scratch{path, lock}).Close()
		}
	}
}
