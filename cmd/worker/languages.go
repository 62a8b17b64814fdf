package main

import (
	"fmt"
	"io/fs"
	"os"
)

const languagesHelp = "directory with descriptions (*.hcl) of languages beside our own"

// languagesIn is the directory of --languages, if one is named. One that is not
// there is refused: its languages would be missing without a word.
func languagesIn(dir string) ([]fs.FS, error) {
	if dir == "" {
		return nil, nil
	}
	if _, err := os.ReadDir(dir); err != nil {
		return nil, fmt.Errorf("--languages: %w", err)
	}
	return []fs.FS{os.DirFS(dir)}, nil
}
