package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// rootOf is what a program's steps see, and their whole environment but for the
// program's own variables: the language's, or an environment, NAME@DIGEST or NAME
// for its newest version, in which the language's programs must be.
func (p *Pool) rootOf(ctx context.Context, l *runtime.Language, ask string) (sandbox.Root, []string, error) {
	if ask = cmp.Or(ask, l.In); ask == "" {
		return l.Root(), l.Environment(""), nil
	}
	e, err := apart(ctx, p.doors, ask, func() (*environment, error) { return p.environmentFor(l, ask) }, func(*environment) {})
	if err != nil {
		return sandbox.Root{}, nil, programFault(err)
	}
	root := sandbox.EnvRoot(e.tree)
	root.Dirs = append(root.Dirs, "/work")
	return root, l.EnvironmentIn(e.settings.Env), nil
}

// environmentFor finds the environment that ask means, with l's programs in it.
func (p *Pool) environmentFor(l *runtime.Language, ask string) (*environment, error) {
	name, _, pinned := strings.Cut(ask, "@")
	if !pinned && courseName.MatchString(name) {
		digest, err := os.Readlink(path.Join(p.cfg.Courses.path, ".env", name, Current))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, unusable("there is no environment %s", name)
		}
		if err != nil {
			return nil, fmt.Errorf("find environment %s: %w", name, err)
		}
		ask += "@" + digest
	}
	e, err := p.cfg.Courses.environment(nil, ask)
	if err != nil {
		return nil, err
	}
	for _, program := range l.Needs {
		if !e.has(program) {
			return nil, unusable("environment %s has no %s, which runtime %s needs", e.key(), program, l.Name)
		}
	}
	return e, nil
}

// programFault says of an environment what is the caller's fault in naming it.
func programFault(err error) error {
	if t, ok := fault(err); ok {
		return &jobs.Error{Code: "environment_missing", Message: t.Message}
	}
	return err
}
