package pool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/prairielambda/prairielambda/internal/recipe"
)

// readRecipe is the lambda of a course that has none and says what its Python code
// runs in: environment.hcl, or a requirements.txt that an environment was built of
// before this version was pushed. Others have had a requirements.txt for long, for
// purposes of their own.
func (c *Courses) readRecipe(v *version) (*lambda, error) {
	for _, file := range []string{recipe.HCLFile, recipe.RequirementsFile} {
		f, err := openFile(v.dir, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", file, err)
		}
		b, err := io.ReadAll(io.LimitReader(f, recipe.MaxBytes+1))
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		r, err := recipe.Parse(file, b)
		switch {
		case file == recipe.HCLFile && err != nil:
			return &lambda{dir: ".", fault: file + ": " + err.Error()}, nil
		case err != nil || r.Empty():
			continue
		}
		if _, err := os.Readlink(path.Join(c.path, ".env", r.Name(), v.pin())); file == recipe.RequirementsFile && err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return nil, fmt.Errorf("find what %s was built as: %w", file, err)
		}
		return &lambda{dir: ".", Environment: lambdaEnvironment{root: r.Name()}}, nil
	}
	return nil, nil
}

// pin is the name, below an environment's, of what it was when v was pushed.
func (v *version) pin() string { return "@" + v.course + "@" + v.name }
