package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/runtime"
)

func TestLanguagesDirectory(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "shell.hcl"), []byte(`runtime "shell" {
  needs    = ["/bin/sh"]
  version  = ["/bin/sh", "-c", "echo 1.0"]
  suffixes = [".shell"]
  install  = "it is always there"
  step "run" { command = ["/bin/sh", "{main}"] }
  mode "run" { steps = ["run"] }
}`), 0o644))
	more, err := languagesIn(dir)
	require.NoError(t, err)
	ls, err := runtime.LoadLanguage("shell", more...)
	require.NoError(t, err)
	l, err := ls.Find("shell", []jobs.ProgramFile{{Basename: "a.shell"}})
	require.NoError(t, err)
	require.Equal(t, "shell@1.0", l.String())

	_, err = languagesIn(filepath.Join(dir, "not there"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	more, err = languagesIn("")
	require.NoError(t, err)
	require.Empty(t, more)
}
