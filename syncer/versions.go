package syncer

import (
	"context"
	"errors"
	"fmt"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// Rollback moves a course's head to a version that the store has; the sequence
// rises as with every move. It returns the head that is current afterwards.
func (s *Syncer) Rollback(ctx context.Context, course, version string) (head.Head, error) {
	cur := s.current(ctx, course)
	if cur.err != nil {
		return cur.head, fmt.Errorf("read the head of %s: %w", course, cur.err)
	}
	v, err := s.Resolve(ctx, course, version)
	if err != nil {
		return cur.head, err
	}
	if v.Version != cur.head.Version {
		if err := s.swap(ctx, cur, v); err != nil {
			return cur.head, err
		}
		if err := s.unhidden(ctx, cur, v, nil); err != nil {
			return cur.head, err
		}
	}
	h, _, err := s.cfg.Heads.Get(ctx, course)
	return h, err
}

// Keep protects a version from gc, or no longer does.
func (s *Syncer) Keep(ctx context.Context, course, version string, keep bool) error {
	v, err := s.Resolve(ctx, course, version)
	if err != nil {
		return err
	}
	return s.cfg.Heads.Keep(ctx, course, v.Version, keep)
}

// Remove removes a course: its head at once, its versions for gc to collect
// after the grace period.
func (s *Syncer) Remove(ctx context.Context, course string) (versions int, err error) {
	_, token, err := s.cfg.Heads.Get(ctx, course)
	missing := errors.Is(err, head.ErrNotFound)
	var corrupt *head.CorruptError
	if err != nil && !missing && !errors.As(err, &corrupt) {
		return 0, err
	}
	if !missing {
		if err := s.cfg.Heads.Remove(ctx, course, token); err != nil {
			return 0, err
		}
	}
	var all []head.Stored
	if err := s.cfg.Heads.ListVersions(ctx, course, func(r head.Stored) error {
		all = append(all, r)
		return nil
	}); err != nil {
		return 0, err
	}
	if missing && len(all) == 0 {
		return 0, fmt.Errorf("course %s: %w", course, head.ErrNotFound)
	}
	for _, r := range all {
		if !r.Removed.IsZero() {
			continue
		}
		versions++
		if r.Kept {
			if err := s.cfg.Heads.Keep(ctx, course, r.Version.Version, false); err != nil {
				return versions, err
			}
		}
		if err := s.cfg.Heads.RemoveVersion(ctx, course, r.Version.Version); err != nil {
			return versions, err
		}
	}
	return versions, nil
}

// Change is one difference between two versions.
type Change struct {
	Op   string `json:"op"` // A added, D deleted, M modified: content, mode, type or target
	Path string `json:"path"`
	Size int64  `json:"size"` // of the newer file; of the older one when deleted
}

// Diff passes the differences from one version to another, directory by
// directory in order of names. Directories themselves are not listed.
func (s *Syncer) Diff(ctx context.Context, course, from, to string, fn func(Change) error) error {
	var ms [2]*manifest.Manifest
	for i, version := range []string{from, to} {
		v, err := s.Resolve(ctx, course, version)
		if err != nil {
			return err
		}
		if ms[i], err = s.Manifest(ctx, v.Manifest); err != nil {
			return err
		}
	}
	return diff(ms[0], ms[1], 0, 0, "", fn)
}

// diff compares directory i of a with directory j of b; -1 stands for none.
func diff(a, b *manifest.Manifest, i, j int, path string, fn func(Change) error) error {
	var af, an, bf, bn int
	if i >= 0 {
		af, an = a.Children(i)
	}
	if j >= 0 {
		bf, bn = b.Children(j)
	}
	for an > 0 || bn > 0 {
		x, y := -1, -1
		switch {
		case bn == 0 || an > 0 && a.Entry(af).Name < b.Entry(bf).Name:
			x = af
		case an == 0 || b.Entry(bf).Name < a.Entry(af).Name:
			y = bf
		default:
			x, y = af, bf
		}
		var old, now manifest.Entry
		if x >= 0 {
			old, af, an = a.Entry(x), af+1, an-1
		}
		if y >= 0 {
			now, bf, bn = b.Entry(y), bf+1, bn-1
		}
		name := path + now.Name
		if y < 0 {
			name = path + old.Name
		}
		oldDir, newDir := x >= 0 && old.Type == manifest.Dir, y >= 0 && now.Type == manifest.Dir
		var err error
		switch {
		case x >= 0 && y >= 0 && !oldDir && !newDir:
			if old != now {
				err = fn(Change{"M", name, now.Size})
			}
		case x >= 0 && !oldDir:
			err = fn(Change{"D", name, old.Size})
		}
		if err == nil && y >= 0 && !newDir && (x < 0 || oldDir) {
			err = fn(Change{"A", name, now.Size})
		}
		if err == nil && (oldDir || newDir) {
			if !oldDir {
				x = -1
			}
			if !newDir {
				y = -1
			}
			err = diff(a, b, x, y, name+"/", fn)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
