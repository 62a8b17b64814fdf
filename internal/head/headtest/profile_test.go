package headtest

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/head/dir"
	"github.com/prairielambda/prairielambda/test/machine"
)

func TestFitProfile(t *testing.T) {
	fit := head.FitProfile("c", append([]string{"b", "", "../x", "b", "a\xff", "/x", "a"}, many(100)...))
	require.Len(t, fit, head.MaxProfile)
	require.Equal(t, []string{"b", "a", "elements/e0.py"}, fit[:3], "in their order, each once")
	var long []string
	for _, p := range many(100) {
		long = append(long, strings.Repeat("<", 100)+p) // each < is six bytes of JSON
	}
	for _, paths := range [][]string{fit, head.FitProfile("c", long)} {
		require.NotEmpty(t, paths)
		_, err := seen("c", 1, paths...).Encode()
		require.NoError(t, err)
	}
}

// TestARootsProfilesAreTheOwners: a mount that is root leaves nothing in a store
// that its owner cannot remove, and follows no link out of it.
func TestARootsProfilesAreTheOwners(t *testing.T) {
	machine.Root(t)
	root, elsewhere := t.TempDir(), t.TempDir()
	const owner = 12345
	require.NoError(t, os.Chown(root, owner, owner))
	require.NoError(t, dir.New(root).PutProfile(t.Context(), seen("c", 1, "a")))
	n := 0
	require.NoError(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		n++
		require.NoError(t, err)
		require.EqualValues(t, owner, ownerOf(t, path), path)
		return nil
	}))
	require.Equal(t, 4, n)
	require.NoError(t, os.RemoveAll(filepath.Join(root, "profiles")))
	require.NoError(t, os.Symlink(elsewhere, filepath.Join(root, "profiles")))
	require.Error(t, dir.New(root).PutProfile(t.Context(), seen("c", 1, "a")))
	left, err := os.ReadDir(elsewhere)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestADamagedProfileIsPassedOver, and does not stay.
func TestADamagedProfileIsPassedOver(t *testing.T) {
	root := t.TempDir()
	s := dir.New(root)
	require.NoError(t, s.PutProfile(t.Context(), seen("c", 1, "a")))
	for node, text := range map[int]string{2: "rubbish", 3: "", 4: `{"course":"c"}`} {
		require.NoError(t, os.WriteFile(filepath.Join(root, "profiles/c", Node(node)), []byte(text), 0o644))
	}
	require.NoError(t, os.WriteFile(filepath.Join(root, "profiles/c/README"), nil, 0o644))
	all, err := s.Profiles(t.Context(), "c")
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, s.Sweep(t.Context(), time.Now().Add(time.Hour), nil))
	require.NoDirExists(t, filepath.Join(root, "profiles/c"))
}

func ownerOf(t *testing.T, path string) uint32 {
	st, err := os.Lstat(path)
	require.NoError(t, err)
	return st.Sys().(*syscall.Stat_t).Uid
}

func FuzzProfile(f *testing.F) {
	b, _ := seen("c", 1, "elements/a.py", "<é>").Encode()
	f.Add(b)
	b, _ = seen("env.e", 1, "root/usr/lib/a.so", "root/usr/lib/a.so//7").Encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, course := range []string{"c", "env.e"} {
			if p, err := head.DecodeProfile(course, Node(1), b); err == nil {
				again, err := p.Encode()
				require.NoError(t, err)
				require.Equal(t, string(b), string(again))
				require.Equal(t, p.Paths, append([]string(nil), head.FitProfile(course, p.Paths)...))
			}
		}
	})
}
