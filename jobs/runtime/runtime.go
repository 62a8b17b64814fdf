// Package runtime describes languages: what a sandbox of each shows, how its warm
// parent starts, and which libraries that one loads. Descriptions are data; the
// packages sandbox and pool act on them.
package runtime

import (
	"encoding/json"
	"fmt"
	"maps"

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
