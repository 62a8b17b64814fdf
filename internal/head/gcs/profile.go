package gcs

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prairielambda/prairielambda/internal/blob/gcs"
	"github.com/prairielambda/prairielambda/internal/head"
)

// PutProfile implements head.Store.
func (s *Store) PutProfile(ctx context.Context, p head.Profile) error {
	if err := head.Check(ctx, p.Course, ""); err != nil {
		return err
	}
	record, err := p.Encode()
	if err != nil {
		return err
	}
	name := "profiles/" + p.Course + "/" + p.Node
	a, err := s.b.Stat(ctx, name)
	if errors.Is(err, gcs.ErrNoObject) {
		return s.b.Create(ctx, name, record)
	}
	if err != nil {
		return err
	}
	return s.b.Replace(ctx, name, record, a.Generation)
}

// Profile implements head.Store.
func (s *Store) Profile(ctx context.Context, course, node string) (p head.Profile, err error) {
	if err := errors.Join(head.Check(ctx, course, ""), head.CheckNode(node)); err != nil {
		return p, err
	}
	record, _, err := s.b.Read(ctx, "profiles/"+course+"/"+node, head.MaxProfileRecord)
	if errors.Is(err, gcs.ErrNoObject) {
		return p, head.ErrNotFound
	}
	if err != nil {
		return p, err
	}
	return head.DecodeProfile(course, node, record)
}

// Profiles implements head.Store. They are small and many: they are read many at once.
func (s *Store) Profiles(ctx context.Context, course string) ([]head.Profile, error) {
	if err := head.Check(ctx, course, ""); err != nil {
		return nil, err
	}
	prefix := "profiles/" + course + "/"
	var nodes []string
	if err := s.b.List(ctx, prefix, "", func(a gcs.Attrs) error {
		if n := strings.TrimPrefix(a.Name, prefix); head.CheckNode(n) == nil && len(nodes) < head.MaxProfiles {
			nodes = append(nodes, n)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	var mu sync.Mutex // guards all
	var all []head.Profile
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for _, node := range nodes {
		g.Go(func() error {
			p, err := s.Profile(gctx, course, node)
			var bad *head.CorruptError
			if errors.Is(err, head.ErrNotFound) || errors.As(err, &bad) {
				return nil // swept meanwhile, or damaged
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, p)
			return nil
		})
	}
	return all, g.Wait()
}

// Sweep implements head.Store: nothing is ever half written here, so only
// profiles are old.
func (s *Store) Sweep(ctx context.Context, before time.Time, keep map[string]bool) error {
	var old []gcs.Attrs
	if err := s.b.List(ctx, "profiles/", "", func(a gcs.Attrs) error {
		if a.Updated.Before(before) && !keep[strings.TrimPrefix(a.Name, "profiles/")] {
			old = append(old, a)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, a := range old {
		if err := s.b.Delete(ctx, a.Name, a.Generation); err != nil && !errors.Is(err, gcs.ErrNoObject) && !errors.Is(err, gcs.ErrChanged) {
			return err
		}
	}
	return nil
}
