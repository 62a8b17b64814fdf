package mem

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/prairielambda/prairielambda/internal/head"
)

type profile struct {
	data []byte
	at   time.Time
}

// PutProfile implements head.Store.
func (s *Store) PutProfile(ctx context.Context, p head.Profile) error {
	if err := head.Check(ctx, p.Course, ""); err != nil {
		return err
	}
	data, err := p.Encode()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[[2]string{p.Course, p.Node}] = profile{data, time.Now()}
	return nil
}

// Profile implements head.Store.
func (s *Store) Profile(ctx context.Context, course, node string) (head.Profile, error) {
	if err := errors.Join(head.Check(ctx, course, ""), head.CheckNode(node)); err != nil {
		return head.Profile{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	of, ok := s.seen[[2]string{course, node}]
	if !ok {
		return head.Profile{}, head.ErrNotFound
	}
	return head.DecodeProfile(course, node, of.data)
}

// Profiles implements head.Store.
func (s *Store) Profiles(ctx context.Context, course string) (all []head.Profile, err error) {
	if err := head.Check(ctx, course, ""); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, of := range s.seen {
		if k[0] != course || len(all) == head.MaxProfiles {
			continue
		}
		if p, err := head.DecodeProfile(k[0], k[1], of.data); err == nil {
			all = append(all, p)
		}
	}
	return all, nil
}

// Sweep implements head.Store: nothing is ever half done here.
func (s *Store) Sweep(ctx context.Context, before time.Time, keep map[string]bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.seen, func(k [2]string, p profile) bool { return p.at.Before(before) && !keep[k[0]+"/"+k[1]] })
	return ctx.Err()
}
