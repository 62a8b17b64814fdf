package runtime

import (
	"maps"
	"slices"
	"strings"

	"github.com/prairielambda/prairielambda/jobs/runtime/python"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// PythonIn describes the interpreter at path inside the environment whose root
// filesystem lies at tree, with the variables that the environment's image sets.
func PythonIn(tree, path string, variables []string) sandbox.ZygoteConfig {
	c := Python(path)
	c.Root = sandbox.EnvRoot(tree)
	maps.Copy(c.Root.Files, python.Files())
	c.Root.Files[python.Dir+"/seal.py"] = sandbox.SealPy
	c.Env = Variables(variables)
	return c
}

// ProgramIn describes what a program sees in the environment at tree.
func ProgramIn(tree string, variables []string) sandbox.Command {
	return sandbox.Command{Root: sandbox.EnvRoot(tree), Env: Variables(variables)}
}

// ours are the variables that an image does not change: where a sandbox can
// write, and what keeps an interpreter single-threaded.
var ours = []string{"HOME", "TMPDIR", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "PYTHONDONTWRITEBYTECODE"}

// Variables are those of every sandbox, with an image's own laid over them.
func Variables(image []string) []string {
	env := slices.Clone(environment)
	for _, v := range image {
		name, _, _ := strings.Cut(v, "=")
		if slices.Contains(ours, name) {
			continue
		}
		env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		env = append(env, v)
	}
	return env
}
