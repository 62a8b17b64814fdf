// Package git reads commits, trees and blobs from a repository that nobody
// vouches for, through one `git cat-file --batch`.
//
// git never sees the repository's configuration: it runs in a git directory of
// our own making that borrows only the objects and refs. So fsmonitor, hooks,
// filters, textconv, replacement objects, lazy fetches and ssh commands have
// nowhere to be configured. Environment and global configuration are cut off,
// every protocol is forbidden, and what would lead out of the repository
// (alternates, a gitfile, a symlink in place of a directory) is refused.
//
// It guarantees that every object's bytes hash to its id.
package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrNotRepository says that a path is not the top of a git repository.
var ErrNotRepository = errors.New("not a git repository")

// Is says whether path is the top of a working tree or a bare repository.
func Is(path string) bool {
	_, err := gitDir(path)
	return !errors.Is(err, ErrNotRepository)
}

// gitDir finds the git directory of path itself, never of a parent.
func gitDir(path string) (string, error) {
	dot := filepath.Join(path, ".git")
	st, err := os.Lstat(dot)
	switch {
	case err == nil && st.IsDir():
		return dot, nil
	case err == nil:
		return "", fmt.Errorf("%s leads elsewhere (a linked worktree or a submodule); push from the repository itself, or its files with --worktree", dot)
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Lstat(filepath.Join(path, name)); err != nil {
			return "", fmt.Errorf("%s: %w", path, ErrNotRepository)
		}
	}
	return path, nil
}

// enclosed refuses a git directory whose objects or refs lie elsewhere.
func enclosed(dir string) error {
	for _, name := range []string{"objects/info/alternates", "commondir"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("%s borrows from another repository by %s; refused", dir, name)
		} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
			return err
		}
	}
	for _, name := range []string{"objects", "refs"} {
		if st, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			return err
		} else if !st.IsDir() {
			return fmt.Errorf("%s/%s is not a directory; refused", dir, name)
		}
	}
	for _, name := range []string{"HEAD", "packed-refs"} {
		if st, err := os.Lstat(filepath.Join(dir, name)); err == nil && !st.Mode().IsRegular() {
			return fmt.Errorf("%s/%s is not a regular file; refused", dir, name)
		}
	}
	for _, name := range []string{"objects", "objects/pack", "objects/info"} {
		entries, err := os.ReadDir(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if t := e.Type(); !t.IsDir() && !t.IsRegular() {
				return fmt.Errorf("%s/%s/%s leads elsewhere; refused", dir, name, e.Name())
			}
		}
	}
	return nil
}

// isSHA256 finds the one value of a repository's configuration that we go by.
func isSHA256(conf string) bool {
	for line := range strings.Lines(conf) {
		key, value, _ := strings.Cut(line, "=")
		if strings.EqualFold(strings.TrimSpace(key), "objectformat") && strings.EqualFold(strings.Trim(strings.TrimSpace(value), `"`), "sha256") {
			return true
		}
	}
	return false
}

// borrow makes a git directory in tmp with dir's refs and nothing of its
// configuration. It returns the length of object ids.
func borrow(dir, tmp string) (idLen int, err error) {
	idLen = 20
	conf, err := readSmall(filepath.Join(dir, "config"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	config := "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
	if isSHA256(conf) {
		idLen = 32
		config = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectFormat = sha256\n"
	}
	head, err := readSmall(filepath.Join(dir, "HEAD"))
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(tmp, "config"), []byte(config), 0o600); err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(tmp, "HEAD"), []byte(head), 0o600); err != nil {
		return 0, err
	}
	for _, name := range []string{"refs", "packed-refs"} {
		from := filepath.Join(dir, name)
		if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.Symlink(from, filepath.Join(tmp, name)); err != nil {
			return 0, err
		}
	}
	return idLen, nil
}

func readSmall(path string) (string, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() || st.Size() > 1<<20 {
		return "", fmt.Errorf("%s is not a small regular file; refused", path)
	}
	b, err := os.ReadFile(path)
	return string(b), err
}

// environ is all that git sees of the world.
func environ(gitDir, objects string) []string {
	env := []string{
		"GIT_DIR=" + gitDir,
		"GIT_OBJECT_DIRECTORY=" + objects,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_ATTR_NOSYSTEM=1", "GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1",
		"GIT_ALLOW_PROTOCOL=none", "GIT_PROTOCOL_FROM_USER=0",
		"GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0",
		"GIT_SSH_COMMAND=false", "GIT_ASKPASS=false", "SSH_ASKPASS=false",
		"HOME=" + gitDir, "XDG_CONFIG_HOME=" + gitDir, "LC_ALL=C",
	}
	for _, name := range []string{"PATH", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// Open starts git on the repository whose top is path. Close ends it; it also
// ends when ctx does.
func Open(ctx context.Context, path string) (*Repo, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dir, err := gitDir(path)
	if err != nil {
		return nil, err
	}
	if err := enclosed(dir); err != nil {
		return nil, err
	}
	own, err := newScratch()
	if err != nil {
		return nil, err
	}
	r := &Repo{own: own}
	if r.idLen, err = borrow(dir, own.Path); err == nil {
		err = r.start(ctx, environ(own.Path, filepath.Join(dir, "objects")))
	}
	if err != nil {
		own.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return r, nil
}

// checkRev refuses what could not be sent on one line.
func checkRev(rev string) error {
	if rev == "" || strings.ContainsAny(rev, "\n\r\x00") || len(rev) > 1000 {
		return fmt.Errorf("%.40q is no revision", rev)
	}
	return nil
}
