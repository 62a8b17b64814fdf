package e2e

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/e2e/debian"
	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

// wheel writes a pure Python package as pip takes it.
func wheel(t *testing.T, dir, name, version string, files map[string]string, requires ...string) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	info := name + "-" + version + ".dist-info/"
	meta := "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"
	for _, r := range requires {
		meta += "Requires-Dist: " + r + "\n"
	}
	all := map[string]string{info + "METADATA": meta, info + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
	for n, c := range files {
		all[n] = c
	}
	record := ""
	for n, c := range all {
		w, err := z.Create(n)
		require.NoError(t, err)
		_, err = w.Write([]byte(c))
		require.NoError(t, err)
		sum := sha256.Sum256([]byte(c))
		record += fmt.Sprintf("%s,sha256=%s,%d\n", n, base64.RawURLEncoding.EncodeToString(sum[:]), len(c))
	}
	w, err := z.Create(info + "RECORD")
	require.NoError(t, err)
	_, err = w.Write([]byte(record + info + "RECORD,,\n"))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+"-"+version+"-py3-none-any.whl"), b.Bytes(), 0o644))
}

// built is what `syncer env build --json` prints.
type built struct {
	Environment, Built string
	Reused             bool
	Bytes              int64
	Log                string
}

// basesDir is shared by a machine's runs, as an operator's would be.
func basesDir(t *testing.T) string {
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	return filepath.Join(cache, "prairielambda", "test-bases")
}

func buildEnv(t *testing.T, s *stack.Stack, name, file, recipe string, args ...string) (b built, err error) {
	t.Helper()
	p := filepath.Join(t.TempDir(), file)
	require.NoError(t, os.WriteFile(p, []byte(recipe), 0o644))
	out, err := s.Run("syncer", append([]string{"env", "build", "--json", "--store", s.Store, "--bases", basesDir(t), name, p}, args...)...)
	if err == nil {
		require.NoError(t, json.Unmarshal([]byte(out), &b), "%s", out)
	}
	return b, err
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("building environments needs root")
	}
}

func TestTwoCoursesWithTwoVersionsOfALibraryFromTheirRecipes(t *testing.T) {
	needRoot(t)
	s := newStack(t)
	wheels := t.TempDir()
	big := strings.Builder{}
	for i := range 4000 {
		sum := sha256.Sum256(fmt.Append(nil, i))
		fmt.Fprintf(&big, "T%d = %q\n", i, fmt.Sprintf("%x", sum))
	}
	for v := 1; v <= 2; v++ {
		wheel(t, wheels, "prairielib", fmt.Sprintf("%d.0", v), map[string]string{"prairielib/__init__.py": fmt.Sprintf("VERSION = %d\n", v)}, "prairietools>=1")
	}
	wheel(t, wheels, "prairietools", "1.5", map[string]string{"prairietools.py": big.String()})
	pushEnv(t, s, "default", "root:"+debian.Root(t, "trixie", pythonPackages...))

	one, err := buildEnv(t, s, "one", "requirements.txt", "prairielib==1.0\n", "--wheels", wheels)
	require.NoError(t, err)
	two, err := buildEnv(t, s, "two", "environment.hcl", `
pip      = ["PrairieLib >= 2"]
files    = { "/usr/share/prairie/hello" = "hello\n", "/usr/bin/hello" = "#!/bin/sh\ncat /usr/share/prairie/hello\n" }
settings = { PRAIRIE_GREETING = "hello" }
`, "--wheels", wheels)
	require.NoError(t, err)
	t.Logf("one %+v\ntwo %+v", one, two)

	again, err := buildEnv(t, s, "again", "x.json", `{"base":"default","pip":["prairielib==1.*"]}`, "--wheels", wheels)
	require.NoError(t, err)
	require.True(t, again.Reused)
	require.Equal(t, strings.TrimPrefix(one.Environment, "one@"), strings.TrimPrefix(again.Environment, "again@"))
}
