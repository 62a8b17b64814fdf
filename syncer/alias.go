package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prairielambda/prairielambda/internal/head"
)

// Alias makes of, a version that the store has, one of course as well, and moves
// its head there, also where somebody moved it at the same time. Nothing but names
// is written.
func (s *Syncer) Alias(ctx context.Context, course string, of head.Version) (r Report, err error) {
	if err := head.CheckCourse(course); err != nil {
		return Report{Course: course}, &RefusedError{err.Error()}
	}
	for range 10 {
		if r, err = s.alias(ctx, course, of); !errors.Is(err, head.ErrConflict) {
			return r, err
		}
	}
	return r, err
}

func (s *Syncer) alias(ctx context.Context, course string, of head.Version) (r Report, err error) {
	r.Course = course
	cur := s.current(ctx, course)
	if cur.err != nil {
		return r, fmt.Errorf("read the head of %s: %w", course, cur.err)
	}
	of.Course, of.Time = course, time.Now()
	if cur.head.Version != of.Version {
		if of, err = s.cfg.Heads.PutVersion(ctx, of, nil); err != nil {
			return r, fmt.Errorf("store version %s: %w", of.Version, err)
		}
	}
	return s.moved(ctx, r, cur, of)
}
