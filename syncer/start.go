package syncer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prairielambda/prairielambda/internal/head"
)

// RecordStart writes what the programs of an environment's version read when they
// start, so that the first node that mounts it fetches that in one go. What nodes
// recorded of it before, or of the version that was the last one, is handed to add,
// which says what is to be there. It is a hint: a failure is logged.
func (s *Syncer) RecordStart(ctx context.Context, course, version, last string, add func(recorded []string) []string) {
	ctx, stop := context.WithTimeout(ctx, recallTime)
	defer stop()
	var recorded []string
	for _, v := range slices.Compact([]string{version, last}) {
		if p, err := s.cfg.Heads.Profile(ctx, course, head.EnvNode(v)); v != "" && err == nil {
			recorded = append(recorded, p.Paths...)
		}
	}
	p := head.Profile{Course: course, Node: head.EnvNode(version), Time: time.Now(), Paths: head.FitProfile(course, add(recorded))}
	if err := s.cfg.Heads.PutProfile(ctx, p); err != nil {
		s.cfg.Log.Warn().Err(err).Str("course", course).Msg("what it reads at its start is not recorded")
	}
}

// starts reads the profiles of all versions of environments that have a record:
// sweeping profiles goes by their age, and these live as long as their version.
func (g *collector) starts(ctx context.Context, courses []string) (all []head.Profile, err error) {
	var mu sync.Mutex // guards all
	each, ctx := errgroup.WithContext(ctx)
	each.SetLimit(16)
	for _, c := range courses {
		if _, is := head.EnvName(c); !is {
			continue
		}
		if err := g.s.cfg.Heads.ListVersions(ctx, c, func(r head.Stored) error {
			each.Go(func() error {
				p, err := g.s.cfg.Heads.Profile(ctx, c, head.EnvNode(r.Version.Version))
				var bad *head.CorruptError
				if errors.Is(err, head.ErrNotFound) || errors.As(err, &bad) {
					return nil
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, p)
				return err
			})
			return nil
		}); err != nil {
			return nil, errors.Join(err, each.Wait())
		}
	}
	return all, each.Wait()
}

// sweep removes what is old among the heads, starts excepted.
func (g *collector) sweep(ctx context.Context, courses []string, cutoff time.Time) error {
	starts, err := g.starts(ctx, courses)
	if err != nil {
		return err
	}
	if err := g.s.cfg.Heads.Sweep(ctx, cutoff); err != nil {
		return err
	}
	each, ctx := errgroup.WithContext(ctx)
	each.SetLimit(16)
	for _, p := range starts {
		each.Go(func() error { return g.s.cfg.Heads.PutProfile(ctx, p) })
	}
	return each.Wait()
}
