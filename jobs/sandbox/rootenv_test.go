package sandbox

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/test/machine"
)

// What a tree has at its top must neither cover what a sandbox has there nor
// lead the builder out of the new root.
func TestShowTreeTrustsNothingInTheTree(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root; TestTiers runs the whole way without it")
	}
	tree, dir, outside := t.TempDir(), t.TempDir(), t.TempDir()
	for _, d := range []string{"usr", "proc", "prairie", "dev", "course"} {
		require.NoError(t, os.Mkdir(filepath.Join(tree, d), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(tree, d, "theirs"), nil, 0o644))
	}
	for name, to := range map[string]string{"bin": "usr/bin", "tmp": "/etc", "work": outside, "etc": outside, "deep": "../../../../../.."} {
		require.NoError(t, os.Symlink(to, filepath.Join(tree, name)))
	}
	require.NoError(t, os.WriteFile(filepath.Join(tree, "file"), []byte("f"), 0o644))
	require.NoError(t, unix.Mknod(filepath.Join(tree, "zero"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))))
	require.NoError(t, unix.Mkfifo(filepath.Join(tree, "pipe"), 0o666))

	th, err := newThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return err
		}
		return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	})
	require.NoError(t, err)
	defer th.close()
	require.NoError(t, th.do(func() error {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			return err
		}
		if err := showTree(tree, dir); err != nil {
			return err
		}
		for _, gone := range []string{"proc", "prairie", "dev", "course", "tmp", "work", "zero", "pipe"} {
			_, err := os.Lstat(filepath.Join(dir, gone))
			require.ErrorIs(t, err, os.ErrNotExist, gone)
		}
		for name, to := range map[string]string{"bin": "usr/bin", "etc": outside, "deep": "../../../../../.."} {
			got, err := os.Readlink(filepath.Join(dir, name))
			require.NoError(t, err)
			require.Equal(t, to, got)
		}
		require.FileExists(t, filepath.Join(dir, "usr", "theirs"))
		for _, name := range []string{"usr/new", "file"} {
			require.ErrorIs(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644), unix.EROFS, name)
		}
		return nil
	}))
	left, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Empty(t, left)
}

// shellTree is the smallest environment with a shell in it.
func shellTree(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	need := []string{"/usr/bin/dash", "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"}
	for _, p := range need {
		if _, err := os.Stat(p); err != nil {
			machine.Skip(t, "%v", err)
		}
		to := filepath.Join(tree, "usr", p)
		if p == need[0] {
			to = filepath.Join(tree, "usr/bin/sh")
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		copyFile(t, p, to)
	}
	for _, l := range []string{"bin", "lib", "lib64"} {
		require.NoError(t, os.Symlink("usr/"+l, filepath.Join(tree, l)))
	}
	for _, d := range []string{"etc", "home", "tmp"} {
		require.NoError(t, os.Mkdir(filepath.Join(tree, d), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(tree, d, "of-the-environment"), nil, 0o666))
	}
	require.NoError(t, os.Chmod(tree, 0o755))
	return tree
}

func TestExecInAnEnvironment(t *testing.T) {
	h := newHost(t, 2)
	b, err := h.Exec(t.Context(), Spec{Limits: testLimits}, Command{
		Root: EnvRoot(shellTree(t)), Argv: []string{"/bin/sh", "-c", `cd /; echo top: *; echo etc: /etc/*; echo tmp: /tmp/*
for f in /etc/x /home/x /usr/bin/sh /home/of-the-environment /x; do (echo x >> $f) 2>/dev/null && echo wrote $f; done
echo x > /tmp/x && echo tmp is ours; [ -e /proc/self/status ] && echo proc; echo x > /dev/null && echo null; exit 3`},
		Env: []string{"PATH=/bin"}, Dir: "/tmp",
	})
	require.NoError(t, err)
	turn := b.Wait(t.Context(), testLimits.Wall)
	b.Close()
	require.True(t, turn.Exited, turn.Message)
	require.Equal(t, 3, turn.Status.ExitStatus(), "%s%s", turn.Stdout, turn.Stderr)
	require.Equal(t, `top: bin course dev etc home lib lib64 proc run sys tmp usr
etc: /etc/of-the-environment
tmp: /tmp/*
tmp is ours
proc
null
`, string(turn.Stdout))
}
