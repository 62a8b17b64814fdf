package git

import (
	"os"
	"strings"

	"github.com/prairielambda/prairielambda/internal/scratch"
)

const scratchPrefix = "prairie-git-"

// newScratch is a place for a git directory of our own. It first removes what killed
// processes left; what cannot be removed stays, since no push needs it gone.
func newScratch() (*scratch.Dir, error) {
	_ = scratch.Sweep(os.TempDir(), func(name string) bool { return strings.HasPrefix(name, scratchPrefix) })
	return scratch.New("", scratchPrefix)
}
