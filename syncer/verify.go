package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// VerifyReport is what Verify found.
type VerifyReport struct {
	Courses      int      `json:"courses"`
	Environments int      `json:"environments"`
	Versions     int      `json:"versions"` // of both
	Blobs        int      `json:"blobs"`
	Bytes        int64    `json:"bytes"` // of files, read and hashed
	Problems     []string `json:"problems"`
}

// Verify reads and hashes everything that the course's heads and version
// records reach, or those of all courses if course is empty. What is missing or
// damaged is a problem in the report; an error means that the store could not be
// asked.
func (s *Syncer) Verify(ctx context.Context, course string) (VerifyReport, error) {
	v := &verifier{s: s, blobs: map[blob.Digest]bool{}}
	courses := []string{course}
	if course == "" {
		var err error
		if courses, err = s.cfg.Heads.Courses(ctx); err != nil {
			return v.VerifyReport, err
		}
	}
	v.Problems = []string{}
	for _, c := range courses {
		if _, is := head.EnvName(c); is {
			v.Environments++
		} else {
			v.Courses++
		}
		if err := v.course(ctx, c); err != nil {
			return v.VerifyReport, err
		}
	}
	return v.VerifyReport, nil
}

type verifier struct {
	s     *Syncer
	mu    sync.Mutex // guards what follows
	blobs map[blob.Digest]bool
	VerifyReport
}

func (v *verifier) problem(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
}

// found turns damage into a problem and leaves other errors alone.
func (v *verifier) found(what string, err error) error {
	var cb *blob.CorruptError
	var ch *head.CorruptError
	var cm *manifest.FormatError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, blob.ErrNotFound), errors.Is(err, head.ErrNotFound),
		errors.As(err, &cb), errors.As(err, &ch), errors.As(err, &cm):
		v.problem("%s: %v", what, err)
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (v *verifier) course(ctx context.Context, course string) error {
	heads := v.s.cfg.Heads
	h, _, err := heads.Get(ctx, course)
	hasHead := err == nil
	if !errors.Is(err, head.ErrNotFound) {
		if err := v.found("head of "+course, err); err != nil {
			return err
		}
	}
	headSeen := false
	err = heads.ListVersions(ctx, course, func(r head.Stored) error {
		if hasHead && r.Version.Version == h.Version && r.Removed.IsZero() {
			headSeen = true
			if r.Manifest != h.Manifest {
				v.problem("head of %s: it names another manifest than the record of version %s", course, h.Version)
			}
		}
		v.Versions++
		return v.version(ctx, course, r.Version)
	})
	if err := v.found("versions of "+course, err); err != nil {
		return err
	}
	if hasHead && !headSeen && err == nil {
		v.problem("head of %s: version %s has no record", course, h.Version)
	}
	return nil
}

// once says whether d is met for the first time.
func (v *verifier) once(d blob.Digest) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.blobs[d] {
		return false
	}
	v.blobs[d] = true
	v.Blobs++
	return true
}

func (v *verifier) version(ctx context.Context, course string, r head.Version) error {
	name := fmt.Sprintf("version %s of %s", r.Version, course)
	if !v.once(r.Manifest) {
		return nil
	}
	m, err := v.s.Manifest(ctx, r.Manifest)
	if err != nil {
		return v.found(name, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(v.s.cfg.Uploads)
	for k, files := range filesByBlob(m) {
		if !v.once(m.Blob(k).Digest) {
			continue
		}
		g.Go(func() error {
			return v.found(name, v.s.readBlob(ctx, m, k, files, func(_ int, r io.Reader) error {
				n, err := io.Copy(io.Discard, r)
				v.mu.Lock()
				v.Bytes += n
				v.mu.Unlock()
				return err
			}))
		})
	}
	return g.Wait()
}
