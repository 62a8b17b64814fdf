// Package python holds the Python programs that run on the trusted side of a
// sandbox's wall until it is sealed: the zygote, and the call semantics of
// PrairieLearn's question and element code (the package prairie).
//
// They are data to the worker: it puts them, read-only, below /prairie in the
// runtime's root.
package python

import (
	"embed"
	"io/fs"
)

//go:embed zygote.py exercise.py heap.py prairie/*.py course
var files embed.FS

// Dir is where the runtime's root shows the files.
const Dir = "/prairie"

// Files returns every program by its path in the runtime's root.
func Files() map[string][]byte {
	out := map[string][]byte{}
	err := fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(p)
		out[Dir+"/"+p] = b
		return err
	})
	if err != nil {
		panic("python: embedded files: " + err.Error()) // the compiler put them there
	}
	return out
}
