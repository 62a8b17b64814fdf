package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"github.com/prairielambda/prairielambda/internal/recipe"
)

// A course names an environment in a lambda.json, by name or by name and digest, and
// in a question's info.json by the image that grades it. What a name alone means
// is decided once, when the version is pushed, and stands in its record: neither
// a page nor a score changes under a student because somebody pushed an environment.

const maxPins = 64 // a record is small

// pins resolves the environments that m's files name without a digest, and those
// of graders. One that the store does not have is left out: the node then says so.
func (s *Syncer) pins(ctx context.Context, m *manifest.Manifest, graders []string) (pins map[string]string, err error) {
	if m.Kind() != manifest.Course {
		return nil, nil
	}
	pin := func(name string) error {
		if name == "" || pins[name] != "" {
			return nil
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
	}
	for k, files := range lambdaFiles(m) {
		if err := s.readBlob(ctx, m, k, files, func(i int, r io.Reader) error {
			name, err := namedEnvironment(m.Entry(i).Name, r)
			return errors.Join(err, pin(name))
		}); err != nil {
			return nil, err
		}
	}
	for _, name := range graders {
		if err := pin(name); err != nil {
			return nil, err
		}
	}
	return pins, nil
}

// meet notes the grader that a question's file names.
func (f *filler) meet(i int, b []byte) {
	if f.spec.Entries[i].Name != recipe.QuestionFile {
		return
	}
	if name := recipe.Grader(b); !strings.Contains(name, "@") && head.CheckEnv(name) == nil {
		f.graders[name] = true
	}
}

// gradersOf are the environments of graders that a push met in the files that it
// read, and those that the last version named: they may be of questions that did
// not change, which nobody reads for this. One too many costs a name in a record.
func (p *past) gradersOf(met map[string]bool) ([]string, error) {
	if p == nil {
		return nil, nil
	}
	<-p.done
	if p.lost != nil {
		return nil, p.lost
	}
	names := slices.AppendSeq(slices.Collect(maps.Keys(p.named)), maps.Keys(met))
	slices.Sort(names)
	return slices.Compact(names), nil
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
			g.pinned[head.EnvCourse(name)+"/"+digest] = true
		}
		return nil
	})
}
