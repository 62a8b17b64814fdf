package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/recipe"
)

// Environments that were built of a recipe have names that nobody gave them, and
// nobody removes. GC does, unless a version of a course is pinned to them, or their
// head was set or renewed within the time that it keeps versions for.

// unused reports whether course is one of those, with head h and visible records all.
func (g *collector) unused(h head.Head, course string, all []head.Stored) bool {
	name, is := head.EnvName(course)
	return is && recipe.IsBuilt(name) && g.now.Sub(h.Time) >= max(g.Within, g.Grace) && !slices.ContainsFunc(all, func(r head.Stored) bool {
		return r.Kept || g.pinned[course+"/"+r.Version.Version]
	})
}

// retire removes the head that token stands for. One that moves meanwhile is used
// again: its record is young, or is put back by who moved it.
func (g *collector) retire(ctx context.Context, course string, token head.Token) error {
	if g.DryRun || token == "" {
		return nil
	}
	if err := g.s.cfg.Heads.Remove(ctx, course, token); err != nil && !errors.Is(err, head.ErrConflict) {
		return fmt.Errorf("remove the head: %w", err)
	}
	return nil
}

// Renew tells GC that course is used: it sets the head anew where it is older than
// age. Losing that race to another writer is as good.
func (s *Syncer) Renew(ctx context.Context, course string, age time.Duration) error {
	cur := s.current(ctx, course)
	if cur.err != nil {
		return fmt.Errorf("read the head of %s: %w", course, cur.err)
	}
	if time.Since(cur.head.Time) < age {
		return nil
	}
	v, err := s.Resolve(ctx, course, cur.head.Version)
	if err == nil {
		err = s.swap(ctx, cur, v)
	}
	if errors.Is(err, head.ErrConflict) {
		return nil
	}
	return err
}
