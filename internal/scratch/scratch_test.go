package scratch_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/scratch"
)

func TestSweepTakesOnlyWhatNobodyHolds(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	mine := func(name string) bool { return strings.HasPrefix(name, "mine-") }
	held, err := scratch.New(dir, "mine-")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(elsewhere, "f"), nil, 0o600))
	require.NoError(t, os.Symlink(elsewhere, filepath.Join(dir, "mine-link")))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "mine-left", "full"), 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "other"), 0o700))
	if os.Geteuid() == 0 {
		require.NoError(t, os.Mkdir(filepath.Join(dir, "mine-theirs"), 0o700))
		require.NoError(t, os.Chown(filepath.Join(dir, "mine-theirs"), 12345, 12345))
	}

	require.NoError(t, scratch.Sweep(dir, mine))
	require.DirExists(t, held.Path)
	require.NoDirExists(t, filepath.Join(dir, "mine-left"))
	require.DirExists(t, filepath.Join(dir, "other"))
	require.FileExists(t, filepath.Join(dir, "mine-link", "f"))
	if os.Geteuid() == 0 {
		require.DirExists(t, filepath.Join(dir, "mine-theirs"))
	}

	require.NoError(t, held.Close())
	require.NoDirExists(t, held.Path)
	require.Error(t, scratch.Sweep(filepath.Join(dir, "none"), mine))
}
