package pool

import (
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
func (p *Pool) rootOf(l *runtime.Language, ask string) (sandbox.Root, []string, error) {
	if ask == "" {
		return l.Root(), l.Environment(nil), nil
	}
	name, _, pinned := strings.Cut(ask, "@")
	if !pinned && courseName.MatchString(name) {
		digest, err := os.Readlink(path.Join(p.cfg.Courses.root.Name(), ".env", name, "current"))
		if err != nil {
			return sandbox.Root{}, nil, programFault(unusable("there is no environment %s", name))
		}
		ask += "@" + digest
	}
	e, err := p.cfg.Courses.environment(nil, ask)
	if err != nil {
		return sandbox.Root{}, nil, programFault(err)
	}
	for _, program := range l.Needs {
		if !e.has(program) {
			return sandbox.Root{}, nil, programFault(unusable("environment %s has no %s, which runtime %s needs", e.key(), program, l.Name))
		}
	}
	root := sandbox.EnvRoot(e.tree)
	root.Dirs = append(root.Dirs, "/work")
	return root, l.EnvironmentIn(e.settings.Env), nil
}

// programFault says of an environment what is the caller's fault in naming it.
func programFault(err error) error {
	if t, ok := fault(err); ok {
		return &jobs.Error{Code: "environment_missing", Message: t.Message}
	}
	return err
}
