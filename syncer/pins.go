package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"github.com/prairielambda/prairielambda/internal/recipe"
)

// A course names an environment in a lambda.json, by name or by name and digest.
// What a name alone means is decided once, when the version is pushed, and stands
// in its record: a page never changes under a student because somebody pushed
// an environment.

const maxPins = 64 // a record is small

// pins resolves the environments that m's files name without a digest. One that
// the store does not have is left out: the node then says so.
func (s *Syncer) pins(ctx context.Context, m *manifest.Manifest) (pins map[string]string, err error) {
	if m.Kind() != manifest.Course {
		return nil, nil
	}
	for k, files := range lambdaFiles(m) {
		if err := s.readBlob(ctx, m, k, files, func(i int, r io.Reader) error {
			name, err := namedEnvironment(m.Entry(i).Name, r)
			if err != nil || name == "" || pins[name] != "" {
				return err
			}
			h, _, err := s.cfg.Heads.Get(ctx, head.EnvCourse(name))
			if errors.Is(err, head.ErrNotFound) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("head of environment %s: %w", name, err)
			}
			if pins == nil {
				pins = map[string]string{}
			}
			if pins[name] = h.Version; len(pins) > maxPins {
				return &RefusedError{fmt.Sprintf("the course names more than %d environments", maxPins)}
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return pins, nil
}

// lambdaFiles are the small files that may name an environment, by the blob that they lie in.
func lambdaFiles(m *manifest.Manifest) map[int][]int32 {
	files := map[int][]int32{}
	c := m.Cursor()
	for i := range m.Len() {
		if m.Type(i) != manifest.File {
			continue
		}
		if e := c.Entry(i); (e.Name == recipe.LambdaFile || m.Parent(i) == 0 && (e.Name == recipe.HCLFile || e.Name == recipe.RequirementsFile)) && e.Size > 0 && e.Size < manifest.OwnSize {
			k := m.Locate(i).Blob
			files[k] = append(files[k], int32(i))
		}
	}
	return files
}

// namedEnvironment is the name that a file says without a digest, or that its
// recipe has; "" for any file that names none.
func namedEnvironment(file string, r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, manifest.OwnSize))
	if err != nil {
		return "", err
	}
	name, _ := recipe.Named(file, b)
	if strings.Contains(name, "@") || head.CheckEnv(name) != nil {
		return "", nil
	}
	return name, nil
}

// pins notes which versions of environments a course's versions were pushed with.
func (g *collector) pins(ctx context.Context, course string) error {
	if _, is := head.EnvName(course); is {
		return nil
	}
	return g.s.cfg.Heads.ListVersions(ctx, course, func(r head.Stored) error {
		for name, digest := range r.Environments {
			if g.pinned == nil {
				g.pinned = map[string]bool{}
			}
			g.pinned[head.EnvCourse(name)+"/"+digest] = true
		}
		return nil
	})
}
