package syncer

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/machine"
)

// TestAMountDetectsEveryFlippedByte has many courses in one store, flips another
// byte of each, and reads them all through one fresh mount, until every byte of a
// course's head, manifest and packs had its turn. A flip is an error, never other
// bytes. (Verify and pull: TestEveryByteOfAStoreFlipped.)
func TestAMountDetectsEveryFlippedByte(t *testing.T) {
	needFUSE(t)
	store := filepath.Join(t.TempDir(), "store")
	s := newStorm(t, "dir://"+store)
	chunkfs := filepath.Join(programs, "chunkfs")

	const courses = 60
	type course struct {
		name    string
		files   map[string]string
		objects []object // that only this course needs
	}
	all := make([]course, courses)
	seen := map[string]bool{}
	longest := 0
	for i := range all {
		c := &all[i]
		c.name = fmt.Sprintf("c%02d", i)
		dir := t.TempDir()
		c.files = map[string]string{
			"infoCourse.json":           fmt.Sprintf(`{"name": %q}`, c.name),
			"questions/q/info.json":     fmt.Sprintf(`{"title": %q}`, c.name),
			"questions/q/server.py":     "def generate(data): pass  # " + strings.Repeat(c.name, 9),
			"clientFilesCourse/note.md": "about " + c.name,
		}
		for name, content := range c.files {
			p := filepath.Join(dir, name)
			require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
			require.NoError(t, os.WriteFile(p, []byte(content), 0o644))
		}
		s.syncer("push", c.name, dir, "--worktree", "--quiet")
		n := 0
		for _, root := range []string{"blobs", "heads"} {
			require.NoError(t, filepath.WalkDir(filepath.Join(store, root), func(p string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() || seen[p] || strings.HasPrefix(d.Name(), ".") {
					return err
				}
				seen[p] = true
				b, err := os.ReadFile(p)
				c.objects = append(c.objects, object{p, b})
				n += len(b)
				return err
			}))
		}
		longest = max(longest, n)
	}
	rounds := (longest + courses - 1) / courses
	step := 1
	if !machine.Soak() {
		step = rounds / 4
	}
	for round := 0; round < rounds; round += step {
		flipped := make([]bool, courses)
		for i := range all {
			flipped[i] = flip(t, all[i].objects, round*courses+i)
		}
		mnt, cache := t.TempDir(), t.TempDir()
		s.must(exec.Command(chunkfs, "mount", "--cache", cache, "--cache-size", "100MiB", "--background", mnt))
		for i, c := range all {
			failed := 0
			for name, want := range c.files {
				got, err := os.ReadFile(filepath.Join(mnt, c.name, "current", name))
				if err != nil {
					failed++
				} else {
					require.Equal(t, want, string(got), "round %d: %s/%s", round, c.name, name)
				}
			}
			require.Equal(t, flipped[i], failed > 0, "round %d, %s: %d files failed", round, c.name, failed)
		}
		s.must(exec.Command(chunkfs, "umount", mnt))
		for _, c := range all {
			flip(t, c.objects, -1)
		}
	}
	require.Contains(t, s.syncer("verify"), " 0 problems")
	t.Logf("%d mounts, %d of %d bytes a course", (rounds+step-1)/step, (longest+step-1)/step, longest)
}

func needFUSE(t *testing.T) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		machine.Skip(t, "%v", err)
	}
}

// TestAMountSeesARollback reads a version, moves the head back, and reads the older
// one from the same mount: within 3 s, which SOAK, on a machine at rest, insists on.
func TestAMountSeesARollback(t *testing.T) {
	needFUSE(t)
	s := newStorm(t, "dir://"+filepath.Join(t.TempDir(), "store"))
	chunkfs := filepath.Join(programs, "chunkfs")
	old := s.git("rev-parse", "HEAD")
	s.syncer("push", "demo", s.repo)
	now := s.edit()
	s.syncer("push", "demo", s.repo)
	mnt := t.TempDir()
	s.must(exec.Command(chunkfs, "mount", "--cache", t.TempDir(), "--cache-size", "100MiB", "--background", mnt))
	t.Cleanup(func() { s.must(exec.Command(chunkfs, "umount", mnt)) })
	at := func() string {
		version, err := os.Readlink(filepath.Join(mnt, "demo", "current"))
		require.NoError(t, err)
		return filepath.Base(version)
	}
	require.Equal(t, now, at())
	require.FileExists(t, filepath.Join(mnt, "demo", "current", "clientFilesCourse", "video"))
	s.syncer("rollback", "demo", old)
	moved := time.Now()
	require.Eventually(t, func() bool { return at() == old }, 30*time.Second, 20*time.Millisecond)
	took := time.Since(moved)
	require.NoFileExists(t, filepath.Join(mnt, "demo", "current", "clientFilesCourse", "video"))
	t.Logf("seen after %v", took)
	if machine.Soak() {
		require.Less(t, took, 3*time.Second)
	}
}

// object is a file of the store as it should be.
type object struct {
	path string
	good []byte
}

// flip restores the objects and flips byte n of them all in a row; it says
// whether there is one.
func flip(t *testing.T, objects []object, n int) (done bool) {
	for _, o := range objects {
		b := o.good
		if n >= 0 && n < len(b) {
			b = append([]byte(nil), b...)
			b[n] ^= 1 << (n % 8)
			done = true
		}
		n -= len(o.good)
		require.NoError(t, os.Chmod(o.path, 0o644))
		require.NoError(t, os.WriteFile(o.path, b, 0o644))
	}
	return done
}
