package env

import (
	"path/filepath"
	"regexp"

	"github.com/prairielambda/prairielambda/internal/scratch"
)

// What Unpack writes into lies beside its goal.
var unfinished = regexp.MustCompile(`^\.[0-9a-f]{64}-[0-9]+$`)

// claim makes a directory beside dir to work in.
func claim(dir string) (*scratch.Dir, error) {
	return scratch.New(filepath.Dir(dir), "."+filepath.Base(dir)+"-")
}

// Sweep removes what Unpack left half done in dir in processes that were killed.
func Sweep(dir string) error { return scratch.Sweep(dir, unfinished.MatchString) }
