package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// KeptDir is where a program sees what Spec.Kept holds.
const KeptDir = courseDir + "/" + keptTarget

const keptTarget = "kept"

// Keep copies what lies in the scratch for many sandboxes to read; none can change
// it. Its memory is the worker's own, and not that of the slot that wrote it.
// Only a sandbox of our own commands is kept: whoever reads it believes it.
func (s *Scratch) Keep(size int64) (*Scratch, error) {
	k, err := s.host.newScratch(&Scratch{host: s.host}, size, "0755", nil)
	if err != nil {
		return nil, err
	}
	err = s.host.scratch.do(func() error {
		if err := os.CopyFS(k.dir, os.DirFS(s.dir)); err != nil {
			return err
		}
		if all, err := os.ReadDir(k.dir); err != nil || len(all) == 0 {
			return errors.Join(err, errors.New("nothing lies in it"))
		}
		return filepath.WalkDir(k.dir, func(p string, d fs.DirEntry, err error) error { // the umask had its say
			if err != nil || d.Type() == fs.ModeSymlink {
				return err
			}
			mode := os.FileMode(0o444)
			if d.IsDir() {
				mode = 0o555
			}
			return os.Chmod(p, mode)
		})
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("keep a scratch: %w", err), k.Close())
	}
	return k, nil
}

// show is the scratch as a mount that cannot be written through.
func (s *Scratch) show() (*os.File, error) {
	f, err := s.clone(-1)
	if err != nil {
		return nil, err
	}
	if err := setMountAttr(int(f.Fd()), unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("show what was kept: %w", err)
	}
	return f, nil
}
