package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Ignored names the files of the working tree at path that are neither tracked
// nor wanted, by its .gitignore files and .git/info/exclude: paths from its top,
// those of directories end in a slash and stand for all below them. Where path
// is not the top of a repository's own working tree, nothing is ignored.
//
// Like every git here it runs without the repository's configuration, so that no
// fsmonitor is asked and no filter runs.
func Ignored(ctx context.Context, path string) ([]string, error) {
	dir := filepath.Join(path, ".git")
	if st, err := os.Lstat(dir); err != nil || !st.IsDir() {
		return nil, nil
	}
	if err := enclosed(dir); err != nil {
		return nil, err
	}
	own, err := newScratch()
	if err != nil {
		return nil, err
	}
	defer own.Close()
	tmp := own.Path
	if _, err := borrow(dir, tmp); err != nil {
		return nil, err
	}
	for _, name := range []string{"index", "info/exclude"} {
		if err := copySmall(filepath.Join(dir, name), filepath.Join(tmp, name)); err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(ctx, "git", "ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z")
	cmd.Dir = path
	cmd.Env = append(environ(tmp, filepath.Join(dir, "objects")), "GIT_WORK_TREE="+path)
	var said bytes.Buffer
	cmd.Stderr = &limited{w: &said, left: 500}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files in %s: %w: %s", path, err, strings.TrimSpace(said.String()))
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 }), nil
}

// copySmall copies a regular file, if there is one.
func copySmall(from, to string) error {
	st, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && (!st.Mode().IsRegular() || st.Size() > 256<<20) {
		err = fmt.Errorf("%s is not a regular file of at most 256 MiB; refused", from)
	}
	if err != nil {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}
