package git

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Each hostile repository tries to run `touch PWNED` or to read a secret that
// lies outside of it. Git itself is shown to obey the configuration where a
// plain command would, so that the test does not pass by being harmless.
func TestHostileConfigurationRunsNothing(t *testing.T) {
	for name, config := range map[string]string{
		"fsmonitor":     "[core]\n\tfsmonitor = %s\n",
		"hooks":         "[core]\n\thooksPath = hooks-of-mine\n",
		"filter":        "[filter \"x\"]\n\tsmudge = %s\n\tclean = %[1]s\n\tprocess = %[1]s\n\trequired = true\n",
		"textconv":      "[diff \"x\"]\n\ttextconv = %s\n\tcommand = %[1]s\n[core]\n\tattributesFile = attrs\n",
		"ssh command":   "[core]\n\tsshCommand = %s\n[remote \"origin\"]\n\turl = ssh://host/x\n\tpromisor = true\n[extensions]\n\tpartialClone = origin\n[core]\n\trepositoryformatversion = 1\n",
		"ext protocol":  "[protocol]\n\tallow = always\n[remote \"origin\"]\n\turl = ext::%s\n\tpromisor = true\n[extensions]\n\tpartialClone = origin\n[core]\n\trepositoryformatversion = 1\n",
		"file protocol": "[remote \"origin\"]\n\turl = file:///\n\tuploadpack = %s\n\tpromisor = true\n[extensions]\n\tpartialClone = origin\n[core]\n\trepositoryformatversion = 1\n",
		"pager, editor": "[core]\n\tpager = %s\n\teditor = %[1]s\n\taskPass = %[1]s\n[credential]\n\thelper = !%[1]s\n[gpg]\n\tprogram = %[1]s\n",
		"alias":         "[alias]\n\tcat-file = !%s\n",
		"include":       "[include]\n\tpath = /proc/self/environ\n",
		"nonsense":      "[core\n\x00\xff",
		"worktree":      "[core]\n\tworktree = /\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := repo(t)
			pwned := filepath.Join(t.TempDir(), "PWNED")
			evil := filepath.Join(t.TempDir(), "evil")
			require.NoError(t, os.WriteFile(evil, []byte("#!/bin/sh\ntouch "+pwned+"\n"), 0o755))
			attrs := []byte("* filter=x diff=x\n")
			require.NoError(t, os.WriteFile(filepath.Join(dir, ".gitattributes"), attrs, 0o644))
			require.NoError(t, os.WriteFile(filepath.Join(dir, ".git", "info", "attributes"), attrs, 0o644))
			run(t, dir, "add", "-A")
			run(t, dir, "commit", "-q", "-m", "attributes")
			hooks := filepath.Join(dir, "hooks-of-mine")
			for _, h := range []string{hooks, filepath.Join(dir, ".git", "hooks")} {
				require.NoError(t, os.MkdirAll(h, 0o755))
				for _, n := range []string{"post-checkout", "post-index-change", "reference-transaction", "fsmonitor-watchman"} {
					require.NoError(t, os.WriteFile(filepath.Join(h, n), []byte("#!/bin/sh\ntouch "+pwned+"\n"), 0o755))
				}
			}
			f, err := os.OpenFile(filepath.Join(dir, ".git", "config"), os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			if name == "nonsense" || name == "include" || name == "worktree" || name == "hooks" {
				_, err = f.WriteString(config)
			} else {
				_, err = fmt.Fprintf(f, config, evil)
			}
			require.NoError(t, err)
			require.NoError(t, f.Close())

			r := open(t, dir)
			got := readAll(t, r, "HEAD")
			delete(got, ".gitattributes")
			require.Equal(t, want, got)
			// A missing object is what makes git fetch from a promisor.
			_, err = r.Commit("0123456789012345678901234567890123456789")
			require.Error(t, err)
			// So does what reads the working tree.
			require.NoError(t, os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("*.log\n"), 0o644))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "x.log"), nil, 0o644))
			require.NoError(t, os.Chtimes(filepath.Join(dir, "a.txt"), time.Time{}, time.Now()))
			names, err := Ignored(t.Context(), dir)
			require.NoError(t, err)
			require.Equal(t, []string{"x.log"}, names)
			require.NoFileExists(t, pwned)
		})
	}
}

func TestHostileEnvironmentIsCutOff(t *testing.T) {
	dir := repo(t)
	secret := repo(t)
	t.Setenv("GIT_ALTERNATE_OBJECT_DIRECTORIES", filepath.Join(secret, ".git", "objects"))
	t.Setenv("GIT_DIR", filepath.Join(secret, ".git"))
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
	t.Setenv("GIT_CONFIG_VALUE_0", "/bin/false")
	t.Setenv("GIT_TRACE", "/dev/stderr")
	require.Equal(t, want, readAll(t, open(t, dir), "HEAD"))
}

func TestNothingOutsideIsRead(t *testing.T) {
	secret := repo(t)
	require.NoError(t, os.WriteFile(filepath.Join(secret, "secret"), []byte("secret"), 0o644))
	run(t, secret, "add", "-A")
	run(t, secret, "commit", "-q", "-m", "secret")
	secretHead := run(t, secret, "rev-parse", "HEAD")
	objects := filepath.Join(secret, ".git", "objects")
	for name, plant := range map[string]func(git string) error{
		"alternates": func(git string) error {
			return os.WriteFile(filepath.Join(git, "objects/info/alternates"), []byte(objects+"\n"), 0o644)
		},
		"alternates as a link": func(git string) error {
			return os.Symlink("/nowhere", filepath.Join(git, "objects/info/alternates"))
		},
		"commondir": func(git string) error {
			return os.WriteFile(filepath.Join(git, "commondir"), []byte(filepath.Join(secret, ".git")+"\n"), 0o644)
		},
		"objects as a link": func(git string) error {
			return replace(filepath.Join(git, "objects"), objects)
		},
		"pack as a link": func(git string) error {
			return replace(filepath.Join(git, "objects/pack"), filepath.Join(objects, "pack"))
		},
		"info as a link": func(git string) error {
			return replace(filepath.Join(git, "objects/info"), filepath.Join(objects, "info"))
		},
		"a fan-out directory as a link": func(git string) error {
			return replace(filepath.Join(git, "objects", secretHead[:2]), filepath.Join(objects, secretHead[:2]))
		},
		"a pack file as a link": func(git string) error {
			return os.Symlink("/etc/shadow", filepath.Join(git, "objects/pack/pack-1.pack"))
		},
		"refs as a link": func(git string) error {
			return replace(filepath.Join(git, "refs"), filepath.Join(secret, ".git", "refs"))
		},
		"HEAD as a link": func(git string) error {
			return replace(filepath.Join(git, "HEAD"), "/etc/shadow")
		},
		"packed-refs as a link": func(git string) error {
			return replace(filepath.Join(git, "packed-refs"), "/etc/shadow")
		},
		"config as a link": func(git string) error {
			return replace(filepath.Join(git, "config"), "/etc/shadow")
		},
		"a gitfile": func(git string) error {
			if err := os.RemoveAll(git); err != nil {
				return err
			}
			return os.WriteFile(git, []byte("gitdir: "+filepath.Join(secret, ".git")+"\n"), 0o644)
		},
		".git as a link": func(git string) error {
			return replace(git, filepath.Join(secret, ".git"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := repo(t)
			require.NoError(t, plant(filepath.Join(dir, ".git")))
			r, err := Open(t.Context(), dir)
			if err == nil {
				r.Close()
			}
			require.Error(t, err)
			require.NotContains(t, err.Error(), "root:")
			names, err := Ignored(t.Context(), dir)
			require.Empty(t, names)
			if err != nil {
				require.NotContains(t, err.Error(), "root:")
			}
		})
	}
	t.Run("replacement objects", func(t *testing.T) {
		dir := repo(t)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("replaced"), 0o644))
		run(t, dir, "replace", run(t, dir, "rev-parse", "HEAD:a.txt"), run(t, dir, "hash-object", "-w", "a.txt"))
		require.Equal(t, want, readAll(t, open(t, dir), "HEAD"))
	})
}

func replace(path, target string) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return os.Symlink(target, path)
}
