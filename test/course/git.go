package course

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// gitTime is when the first commit of every repository was made; each further
// one comes a minute later.
var gitTime = time.Date(2026, time.January, 12, 9, 0, 0, 0, time.UTC)

// gitTimeout bounds one git command; the largest is the commit of a generated
// course of 100,000 files.
const gitTimeout = 5 * time.Minute

// GitInit makes dir a repository with one commit of all its files and returns
// that commit's hash, which depends on the files and the message only.
func GitInit(dir, message string) (rev string, err error) {
	// An empty template: the machine's may bring hooks.
	if _, err := git(dir, 0, "init", "--quiet", "--template=", "--initial-branch=main"); err != nil {
		return "", err
	}
	return commit(dir, 0, message)
}

// GitCommit commits every change in dir's work tree and returns the hash. A
// work tree without changes becomes an empty commit.
func GitCommit(dir, message string) (rev string, err error) {
	count, err := git(dir, 0, "rev-list", "--count", "HEAD")
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		return "", fmt.Errorf("count commits of %s: %w", dir, err)
	}
	return commit(dir, n, message)
}

func commit(dir string, n int, message string) (rev string, err error) {
	if _, err := git(dir, n, "add", "--all"); err != nil {
		return "", err
	}
	if _, err := git(dir, n, "commit", "--quiet", "--allow-empty", "--message", message); err != nil {
		return "", err
	}
	return git(dir, n, "rev-parse", "HEAD")
}

// git runs one command as commit number n of dir and returns its trimmed stdout.
func git(dir string, n int, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), gitTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	cmd.Env = gitEnv(gitTime.Add(time.Duration(n) * time.Minute))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s in %s: %w: %s", args[0], dir, err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// gitEnv is the whole environment of a git command: no configuration but the
// repository's own, and one author at one time.
func gitEnv(at time.Time) []string {
	date := at.Format(time.RFC3339)
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Prairie Sample", "GIT_AUTHOR_EMAIL=course@example.org", "GIT_AUTHOR_DATE=" + date,
		"GIT_COMMITTER_NAME=Prairie Sample", "GIT_COMMITTER_EMAIL=course@example.org", "GIT_COMMITTER_DATE=" + date,
	}
}

// Repo is a course in a git repository on disk.
type Repo struct {
	Dir string // absolute path of the work tree
	Rev string // the newest commit's hash
}

// Edit passes the content of the file at path (nil where there is none) to
// change, writes what it returns (nil removes the file) and commits that.
func (r *Repo) Edit(path string, change func(old []byte) []byte) (rev string, err error) {
	name := filepath.Join(r.Dir, filepath.FromSlash(path))
	old, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("edit %s: %w", path, err)
	}
	if content := change(old); content == nil {
		err = os.Remove(name)
	} else if err = os.MkdirAll(filepath.Dir(name), 0o755); err == nil {
		err = os.WriteFile(name, content, 0o644)
	}
	if err != nil {
		return "", fmt.Errorf("edit %s: %w", path, err)
	}
	if rev, err = GitCommit(r.Dir, "Edit "+path); err != nil {
		return "", err
	}
	r.Rev = rev
	return rev, nil
}

// Replace is Edit with every occurrence of one text replaced by another; it
// fails when there is none.
func (r *Repo) Replace(path, old, replacement string) (rev string, err error) {
	content, err := os.ReadFile(filepath.Join(r.Dir, filepath.FromSlash(path)))
	if err != nil {
		return "", fmt.Errorf("replace in %s: %w", path, err)
	}
	if !bytes.Contains(content, []byte(old)) {
		return "", fmt.Errorf("replace in %s: %q does not occur", path, old)
	}
	return r.Edit(path, func(b []byte) []byte {
		return bytes.ReplaceAll(b, []byte(old), []byte(replacement))
	})
}
