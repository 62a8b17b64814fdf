// Package runtime describes languages: what a sandbox of each shows, how its warm
// parent starts, and which libraries that one loads. Descriptions are data; the
// packages sandbox and pool act on them.
package runtime

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"

	"github.com/zeebo/blake3"

	"github.com/prairielambda/prairielambda/jobs/runtime/python"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// Environment is the whole environment of every sandbox: nothing of the worker's.
// The numeric libraries get one thread each: a zygote may have only one, and a
// call has the share of one core.
var environment = []string{
	"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8", "TZ=UTC",
	"OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1", "NUMEXPR_NUM_THREADS=1",
	"MPLBACKEND=Agg", "MPLCONFIGDIR=/tmp/matplotlib", "PYTHONDONTWRITEBYTECODE=1",
}

// Preload lists the libraries that the Python zygote loads when they are installed.
var preload = []string{
	"numpy", "sympy", "lxml.html", "scipy", "pandas", "networkx", "faker", "PIL.Image", "markdown",
	"ssl", "tempfile", "uuid", "secrets", "decimal", "fractions", "statistics", "itertools", "base64", "io",
}

// Python describes the interpreter at path, usually /usr/bin/python3.
func Python(path string) sandbox.ZygoteConfig {
	root := sandbox.HostRoot()
	maps.Copy(root.Files, python.Files())
	root.Files[python.Dir+"/seal.py"] = sandbox.SealPy
	initial, err := json.Marshal(map[string]any{"preload": preload})
	if err != nil {
		panic(err) // a map of strings
	}
	return sandbox.ZygoteConfig{
		Root: root,
		Argv: []string{path, "-I", "-B", python.Dir + "/zygote.py"},
		Env:  environment,
		Init: initial,
	}
}

// Program describes what a program of the runtime called name sees. Every
// installed language is below the same root, so that a name says only which
// interpreter the author relies on.
func Program(name string) (sandbox.Command, error) {
	if name != "" && !known[name] {
		return sandbox.Command{}, fmt.Errorf("runtime %q is not known here; use one of bash, go, java, node, php, python, ruby", name)
	}
	return sandbox.Command{Root: sandbox.HostRoot(), Env: environment}, nil
}

var known = map[string]bool{"bash": true, "go": true, "java": true, "node": true, "php": true, "python": true, "ruby": true}

// Describe asks the interpreter at path for its version, and digests what
// decides a result besides course and input: the interpreter, its libraries'
// places and times, and our own programs.
func Describe(path string) (version, digest string, err error) {
	const ask = `import sys, os
print("%d.%d" % sys.version_info[:2])
print(sys.version)
for p in sorted(set(sys.path)):
    if os.path.isdir(p):
        for name in sorted(os.listdir(p)):
            st = os.stat(os.path.join(p, name), follow_symlinks=False)
            print(p, name, st.st_size, int(st.st_mtime))`
	out, err := exec.Command(path, "-I", "-c", ask).Output()
	if err != nil {
		return "", "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	version, _, _ = strings.Cut(string(out), "\n")
	h := blake3.New()
	_, _ = h.Write(out)
	files := python.Files()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		_, _ = h.WriteString(name)
		_, _ = h.Write(files[name])
	}
	return version, hex.EncodeToString(h.Sum(nil)), nil
}
