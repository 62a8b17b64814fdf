package course

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEqualCoursesAreEqualCommits(t *testing.T) {
	for _, open := range []func(TB) *Repo{Sample, Node} {
		a := open(t)
		// Nothing of the machine or the user may take part.
		t.Setenv("GIT_DIR", "/nonexistent")
		t.Setenv("GIT_AUTHOR_NAME", "Someone Else")
		home := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[commit]\n\tgpgsign = true\n[gpg]\n\tprogram = /bin/false\n"), 0o644))
		t.Setenv("HOME", home)
		b := open(t)
		require.NotEqual(t, a.Dir, b.Dir)
		require.Equal(t, a.Rev, b.Rev)
		require.Regexp(t, `^[0-9a-f]{40}$`, a.Rev)
	}
}

func TestEditsAreCommits(t *testing.T) {
	repo := Sample(t)
	first := repo.Rev
	const path = "questions/" + Cubic + "/question.html"

	second, err := repo.Replace(path, "Consider the cubic", "Look at the cubic")
	require.NoError(t, err)
	require.NotEqual(t, first, second)
	require.Equal(t, second, repo.Rev)
	old, err := git(repo.Dir, 0, "show", first+":"+path)
	require.NoError(t, err)
	require.Contains(t, old, "Consider the cubic", "the old revision keeps its bytes")
	newest, err := git(repo.Dir, 0, "show", "HEAD:"+path)
	require.NoError(t, err)
	require.Contains(t, newest, "Look at the cubic")
	date, err := git(repo.Dir, 0, "show", "--no-patch", "--format=%aI %an", "HEAD")
	require.NoError(t, err)
	require.Equal(t, "2026-01-12T09:01:00+00:00 Prairie Sample", date)

	_, err = repo.Edit("questions/new/one/info.json", func(old []byte) []byte {
		require.Nil(t, old)
		return []byte("{}\n")
	})
	require.NoError(t, err)
	_, err = repo.Edit("questions/new/one/info.json", func([]byte) []byte { return nil })
	require.NoError(t, err)
	require.NoFileExists(t, filepath.Join(repo.Dir, "questions/new/one/info.json"))

	_, err = repo.Replace(path, "no such text", "")
	require.ErrorContains(t, err, `"no such text" does not occur`)
	status, err := git(repo.Dir, 0, "status", "--porcelain")
	require.NoError(t, err)
	require.Empty(t, status)
}

func TestNothingIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, WriteSample(dir))
	require.ErrorIs(t, WriteSample(dir), os.ErrExist)
	_, err := GitInit(filepath.Join(dir, "missing"), "x")
	require.ErrorContains(t, err, "git init")
}
