// Package course holds two courses of our own and makes courses of any size,
// for tests, benchmarks and a newcomer's first run.
//
// "Prairie Sample" (sample/) is a course in PrairieLearn's layout with its own
// elements; nodecourse/ is a small one that answers through its own HTTP server
// in Node. Both are ordinary course files, described in this folder's README.
//
// It guarantees that equal calls write equal bytes and equal git commits: no
// file, date, identity or git configuration of the machine takes part. It
// refuses to write over a file that is already there.
package course

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

//go:embed all:sample
var sampleFiles embed.FS

//go:embed all:nodecourse
var nodeFiles embed.FS

// Cubic is the QID of the sample course's canonical question: numpy and sympy,
// every function of a question, partial credit.
const Cubic = "calculus/derivatives/cubic"

// WriteSample writes the sample course into dir, which need not exist.
func WriteSample(dir string) error {
	if err := writeTree(sampleFiles, "sample", dir); err != nil {
		return fmt.Errorf("write sample course: %w", err)
	}
	if err := create(filepath.Join(dir, PanoramaPath), panorama(), 0o644); err != nil {
		return fmt.Errorf("write sample course: %w", err)
	}
	// Embedding has no symlinks; courses do.
	if err := os.Symlink("prairie.svg", filepath.Join(dir, "clientFilesCourse", "cover.svg")); err != nil {
		return fmt.Errorf("write sample course: %w", err)
	}
	return nil
}

// WriteNode writes the Node course into dir, which need not exist.
func WriteNode(dir string) error {
	if err := writeTree(nodeFiles, "nodecourse", dir); err != nil {
		return fmt.Errorf("write node course: %w", err)
	}
	return nil
}

// writeTree copies the embedded tree at root to dir. A file that starts with
// "#!" becomes executable, because embedding keeps no modes.
func writeTree(from fs.FS, root, dir string) error {
	return fs.WalkDir(from, root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Name() == "__pycache__" || strings.HasSuffix(d.Name(), ".pyc") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil // left behind by someone who imported the tree in place
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		content, err := fs.ReadFile(from, path)
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(string(content[:min(2, len(content))]), "#!") {
			mode = 0o755
		}
		return create(to, content, mode)
	})
}

// create writes a new file and fails when one is there.
func create(path string, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	// The process's umask must not reach the commit: git records the x bit.
	return errors.Join(err, f.Chmod(mode), f.Close())
}
