package pool

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// storeFailed is the exit code with which the runtime's shim says that reading
// the course failed below it: EX_IOERR of sysexits.h.
const storeFailed = 74

// Reading a sick mount again is bounded: enough to meet the failure that a call met.
const (
	sickFiles = 2000
	sickTime  = 5 * time.Second
)

// sick reads what a call could read, from outside, and returns the first failure.
func sick(mounts []sandbox.Mount) error {
	deadline, left := time.Now().Add(sickTime), sickFiles
	for _, m := range mounts {
		tree := os.DirFS(fmt.Sprintf("/proc/self/fd/%d", m.Dir.Fd()))
		err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if left--; left < 0 || time.Now().After(deadline) {
				return fs.SkipAll
			}
			if !d.Type().IsRegular() {
				return nil
			}
			f, err := tree.Open(p)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.CopyN(io.Discard, f, 1)
			if err == io.EOF {
				err = nil
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", m.Target, err)
		}
	}
	return nil
}
