package preview

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestALinkThatLeadsOutsideIsSaidInASentence(t *testing.T) {
	for to, want := range map[string]string{
		"../../serverFilesCourse/a.py": "", "sub/b.py": "", "../../elements/e": "", "../q/sub": "",
		"../other/a.py": "x is a link to questions/other/a.py, which the question's code does not see; put what questions share into serverFilesCourse.",
		"/etc/passwd":   "x is a link to /etc/passwd, which the question's code does not see; put what questions share into serverFilesCourse.",
		"../qq":         "x is a link to questions/qq, which the question's code does not see; put what questions share into serverFilesCourse.",
	} {
		dir := t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "questions/q/sub"), 0o755))
		require.NoError(t, os.Symlink(to, filepath.Join(dir, "questions/q/x")))
		require.Equal(t, want, unseen(os.DirFS(dir), "q"), to)
	}
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "questions/q/sub"), 0o755))
	require.NoError(t, os.Symlink("../../other", filepath.Join(dir, "questions/q/sub/deep")))
	require.Contains(t, unseen(os.DirFS(dir), "q"), "sub/deep is a link to questions/other, ")
}
