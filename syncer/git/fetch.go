package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/prairielambda/prairielambda/internal/durable"
)

// ErrNoRevision says that a revision names no commit.
var ErrNoRevision = errors.New("names no commit")

// protocols that a configured remote may use. ext runs programs, and file would
// read what lies outside of the repository; ssh runs the machine's own ssh.
var protocols = map[string]bool{"https": true, "ssh": true, "git": true}

// Fetch updates a repository from its remote `origin`, if it has one whose URL
// uses an allowed protocol; every other is refused. Of the repository's
// configuration git sees that URL and nothing else. Remote branches become the
// repository's own branches, and tags its tags; HEAD stays.
func Fetch(ctx context.Context, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	dir, err := gitDir(path)
	if err != nil {
		return err
	}
	if err := enclosed(dir); err != nil {
		return err
	}
	url, err := remote(ctx, dir)
	if err != nil || url == "" {
		return err
	}
	scheme, _, ok := strings.Cut(url, "://")
	if !ok || !protocols[scheme] || strings.ContainsAny(url, "\n\x00 ") {
		return fmt.Errorf("the remote %q: only https, ssh and git URLs are fetched", url)
	}
	own, err := newScratch()
	if err != nil {
		return err
	}
	defer own.Close()
	tmp := own.Path
	if _, err := borrow(dir, tmp); err != nil {
		return err
	}
	env := environ(tmp, filepath.Join(dir, "objects"))
	for i, v := range env {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "GIT_ALLOW_PROTOCOL":
			env[i] = name + "=" + scheme
		case "GIT_SSH_COMMAND":
			env[i] = name + "=ssh -oBatchMode=yes"
		case "HOME": // ssh's known hosts and keys
			if home, ok := os.LookupEnv("HOME"); ok {
				env[i] = name + "=" + home
			}
		}
	}
	cmd := exec.CommandContext(ctx, "git", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "fetch.fsckObjects=true",
		"fetch", "--quiet", "--no-recurse-submodules", "--no-write-fetch-head", "--update-head-ok", "--force", "--tags", "--", url, "+refs/heads/*:refs/heads/*")
	cmd.Dir, cmd.Env = tmp, env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("fetch %s: %s", url, strings.TrimSpace(string(bytes.ToValidUTF8(out[:min(len(out), 500)], nil))))
	}
	// packed-refs is replaced by git, not written through the link.
	packed := filepath.Join(tmp, "packed-refs")
	if st, err := os.Lstat(packed); err == nil && st.Mode().IsRegular() {
		b, err := os.ReadFile(packed)
		if err != nil {
			return err
		}
		return durable.WriteFile(filepath.Join(dir, "packed-refs"), b, 0o644) // others read it, and it is all there is of them
	}
	return nil
}

// remote reads one value of the repository's configuration, as text: git does
// not follow its includes, and runs nothing to print it.
func remote(ctx context.Context, dir string) (string, error) {
	config := filepath.Join(dir, "config")
	if _, err := readSmall(config); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "git", "config", "--file", config, "--no-includes", "--get", "remote.origin.url")
	// With a git directory that is not there, git takes no other configuration.
	cmd.Dir, cmd.Env = os.TempDir(), environ("/nonexistent", "/nonexistent")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return "", nil // no such key
	}
	return strings.TrimSpace(string(out)), err
}
