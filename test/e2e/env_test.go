package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/syncer/env/imagetest"
	"github.com/prairielambda/prairielambda/test/e2e/debian"
	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

// pythonPackages are what our Python shim uses, and what builds on top of it need.
var pythonPackages = []string{"python3", "python3-numpy", "python3-sympy", "python3-lxml", "python3-markdown-it", "python3-pip", "apt"}

// pushEnv pushes an environment and returns its digest.
func pushEnv(t *testing.T, s *stack.Stack, name, source string) string {
	t.Helper()
	out, err := s.Run("syncer", "env", "push", "--quiet", "--json", "--store", s.Store, name, source)
	require.NoError(t, err)
	var r struct{ Digest string }
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	return r.Digest
}

func newStack(t *testing.T) *stack.Stack {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	s := stack.New(dir, bin)
	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range []string{"worker", "scheduler"} {
				log, _ := os.ReadFile(s.Log(name))
				t.Logf("-- the end of %s's log\n%s", name, log[max(0, len(log)-3000):])
			}
		}
		require.NoError(t, s.Close())
	})
	return s
}

// debianImage is a Debian root as an image of three layers, and the same tree
// as tar unpacks it, with what the whiteouts hide removed by hand.
func debianImage(t *testing.T) (image, reference string) {
	t.Helper()
	root, err := os.ReadFile(debian.Root(t, "bookworm"))
	require.NoError(t, err)
	opq := tar.Header{Typeflag: tar.TypeReg, Name: "usr/share/doc/.wh..wh..opq"}
	suid := tar.Header{Typeflag: tar.TypeReg, Name: "usr/local/bin/id", Mode: 0o6755}
	id, err := os.ReadFile("/usr/bin/id")
	require.NoError(t, err)
	own := tar.Header{Typeflag: tar.TypeReg, Name: "srv/mine", Mode: 0o640, Uid: 1234, Gid: 5678}
	second := imagetest.NewLayer(opq, imagetest.Whiteout("usr/bin", "perl"), imagetest.Whiteout("var", "backups"), imagetest.Dir("srv", 0o2775)).
		Whole(suid, string(id)).Whole(own, strings.Repeat("mine\n", 30000)).File("usr/share/doc/new", "new", 0o644).
		Add(imagetest.Link("srv/hard", "srv/mine"), imagetest.Link("srv/true", "usr/bin/true"), imagetest.Char("srv/zero", 1, 5), imagetest.Char("srv/kmem", 1, 2))
	third := imagetest.NewLayer(imagetest.Symlink("srv/absolute", "/etc/os-release"), imagetest.Symlink("srv/out", "/../../../etc/shadow"), imagetest.Fifo("srv/pipe"),
		tar.Header{Typeflag: tar.TypeBlock, Name: "srv/disk", Mode: 0o660, Gid: 6, Devmajor: 8, Devminor: 1}).
		File("etc/hostname", "third\n", 0o644).File("srv/big", strings.Repeat("0123456789abcdef", 200_000), 0o755)
	img := &imagetest.Image{Layers: [][]byte{root, second.Tar(), third.Tar()}, Env: []string{"LANG=C.UTF-8"}, Cmd: []string{"/bin/sh"}}

	reference = t.TempDir()
	require.NoError(t, os.Chmod(reference, 0o755))
	for i, l := range img.Layers {
		if i == 1 {
			for _, gone := range []string{"usr/bin/perl", "var/backups", "usr/share/doc"} {
				require.NoError(t, os.RemoveAll(filepath.Join(reference, gone)))
			}
			require.NoError(t, os.Mkdir(filepath.Join(reference, "usr/share/doc"), 0o755))
		}
		cmd := exec.Command("tar", "-x", "--numeric-owner", "-p", "--exclude=.wh.*", "-C", reference)
		cmd.Stdin = bytes.NewReader(l)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	return img.OCI(t.TempDir()), reference
}

// listTree describes every entry below dir; equal trees have equal lists.
func listTree(t *testing.T, dir string) (lines []string) {
	t.Helper()
	first := map[uint64]string{}
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%s %o %d:%d", rel, st.Mode, st.Uid, st.Gid)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			line += " -> " + to
		case unix.S_IFREG:
			f, err := os.Open(p)
			if err != nil {
				return err
			}
			h := sha256.New()
			_, err = io.Copy(h, f)
			f.Close()
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %x", st.Size, h.Sum(nil))
		case unix.S_IFCHR, unix.S_IFBLK:
			line += fmt.Sprintf(" %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if name, ok := first[st.Ino]; ok {
				line += " = " + name
			} else {
				first[st.Ino] = rel
			}
		}
		lines = append(lines, line)
		return nil
	}))
	return lines
}

func TestAMountedEnvironmentIsTheFlattenedImage(t *testing.T) {
	s := newStack(t)
	image, reference := debianImage(t)
	digest := pushEnv(t, s, "debian", image)
	version, err := s.Push("plain", plainCourse(t))
	require.NoError(t, err)
	require.NoError(t, s.StartMount())
	root := filepath.Join(s.Mount, ".env", "debian", digest)

	want := listTree(t, reference)
	require.Greater(t, len(want), 2000)
	got := listTree(t, root)
	for i := range min(len(want), len(got)) {
		require.Equal(t, want[i], got[i])
	}
	require.Len(t, got, len(want))

	// What must do nothing: set-id bits, devices.
	cmd := exec.Command("/usr/local/bin/id", "-u") // set-id root
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "65534\n", string(out))
	var fsys unix.Statfs_t
	require.NoError(t, unix.Statfs(root, &fsys))
	require.Equal(t, int64(unix.ST_NOSUID|unix.ST_NODEV|unix.ST_RDONLY), int64(fsys.Flags)&(unix.ST_NOSUID|unix.ST_NODEV|unix.ST_RDONLY))
	for _, dev := range []string{"srv/zero", "srv/kmem", "srv/disk"} {
		_, err := os.Open(filepath.Join(root, dev))
		require.ErrorIs(t, err, unix.EACCES, dev)
	}

	// The names above the tree.
	b, err := os.ReadFile(root + ".json")
	require.NoError(t, err)
	require.JSONEq(t, `{"env":["LANG=C.UTF-8"],"cmd":["/bin/sh"],"workdir":"/","platform":"linux/amd64"}`, string(b))
	to, err := os.Readlink(filepath.Join(s.Mount, ".env", "debian", "current"))
	require.NoError(t, err)
	require.Equal(t, digest, to)
	require.Equal(t, []string{"debian"}, names(t, filepath.Join(s.Mount, ".env")))
	require.Equal(t, []string{digest, "current"}, names(t, filepath.Join(s.Mount, ".env", "debian")))
	require.Equal(t, []string{"plain"}, names(t, s.Mount))
	require.DirExists(t, filepath.Join(s.Mount, "plain", version))
	for _, not := range []string{"env.debian", ".env/none", ".env/debian/" + version, ".env/plain"} {
		_, err := os.Stat(filepath.Join(s.Mount, not))
		require.ErrorIs(t, err, fs.ErrNotExist, not)
	}
	require.ErrorIs(t, os.WriteFile(filepath.Join(root, "x"), nil, 0o600), unix.EROFS)
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	es, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range es {
		all = append(all, e.Name())
	}
	return all
}

// plainCourse is a repository with one file.
func plainCourse(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "infoCourse.json"), []byte("{}"), 0o644))
	commit(t, dir)
	return dir
}

// commit makes dir a repository, if it is none, and commits what is in it.
func commit(t *testing.T, dir string) {
	t.Helper()
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "-A"}, {"-c", "user.name=N", "-c", "user.email=n@x", "commit", "-q", "-m", "m"}} {
		out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}
