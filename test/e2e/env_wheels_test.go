package e2e

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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

// sdist writes a source package whose build runs a program of its own.
func sdist(t *testing.T, dir, name, version, backend string) {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	for n, c := range map[string]string{
		"pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
		"backend.py":     backend, "PKG-INFO": "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n",
	} {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name + "-" + version + "/" + n, Mode: 0o644, Size: int64(len(c))}))
		_, err := w.Write([]byte(c))
		require.NoError(t, err)
	}
	require.NoError(t, errors.Join(w.Close(), gz.Close()))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+"-"+version+".tar.gz"), b.Bytes(), 0o644))
}

// library is a package whose bytes do not compress.
func library(t *testing.T, dir, name, version string) (size int64) {
	var big strings.Builder
	fmt.Fprintf(&big, "VERSION = %q\n", version)
	for i := range 4000 {
		sum := sha256.Sum256(fmt.Append(nil, name, version, i))
		fmt.Fprintf(&big, "T%d = %q\n", i, fmt.Sprintf("%x", sum))
	}
	wheel(t, dir, name, version, map[string]string{name + "/__init__.py": big.String()})
	return int64(big.Len())
}
