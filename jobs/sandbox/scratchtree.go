package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Entry is one entry of a Scratch's tree: a directory, a symbolic link, or
// otherwise a file. The directories above it need no entry.
type Entry struct {
	Dir     bool
	Link    string // where a link leads; never followed by us
	Content []byte
	Exec    bool
}

// fill writes a tree into an empty directory. Links come last: nothing is
// written through them.
func fill(dir string, tree map[string]Entry) error {
	names := sortedKeys(tree)
	for _, name := range names {
		if !filepath.IsLocal(name) || filepath.Clean(name) != name {
			return &os.PathError{Op: "fill", Path: name, Err: fs.ErrInvalid}
		}
		e, p := tree[name], filepath.Join(dir, name)
		above := p
		if !e.Dir {
			above = filepath.Dir(p)
		}
		if err := os.MkdirAll(above, 0o755); err != nil {
			return err
		}
		if e.Dir || e.Link != "" {
			continue
		}
		mode := os.FileMode(0o644)
		if e.Exec {
			mode = 0o755
		}
		// WriteFile minds the umask.
		if err := errors.Join(os.WriteFile(p, e.Content, mode), os.Chmod(p, mode)); err != nil {
			return err
		}
	}
	for _, name := range names {
		if e := tree[name]; e.Link != "" {
			if err := os.Symlink(e.Link, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// giveTree makes uid the owner of dir and of all below it.
func giveTree(dir string, uid int) error {
	return filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(p, uid, uid))
	})
}
