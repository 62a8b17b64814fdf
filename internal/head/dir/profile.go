package dir

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/prairielambda/prairielambda/internal/durable"
	"github.com/prairielambda/prairielambda/internal/head"
)

// Profiles lie in profiles/<course>/<node>. Whoever mounts a store is often root
// where the store's owner is not. So they are written through os.Root, which follows
// no link out of the store, and what root makes it gives to the store's owner, who can then collect it.

// PutProfile implements head.Store.
func (s *Store) PutProfile(ctx context.Context, p head.Profile) error {
	if err := head.Check(ctx, p.Course, ""); err != nil {
		return err
	}
	record, err := p.Encode()
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(s.root)
	if err != nil {
		return err
	}
	defer root.Close()
	dir := "profiles"
	for _, d := range []string{dir, dir + "/" + p.Course} {
		if dir = d; errors.Is(root.Mkdir(dir, 0o755), fs.ErrExist) {
			continue
		}
		f, err := root.Open(dir)
		if err != nil {
			return err
		}
		s.give(f)
		f.Close()
	}
	tmp := dir + "/" + durable.TempPrefix + rand.Text()
	f, err := root.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	s.give(f)
	_, err = f.Write(record)
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(tmp, dir+"/"+p.Node)
	}
	if err != nil {
		_ = root.Remove(tmp)
	}
	return err
}

// give makes what we made the store owner's, where we may.
func (s *Store) give(f *os.File) {
	if st, err := os.Stat(s.root); err == nil && os.Geteuid() == 0 {
		own := st.Sys().(*syscall.Stat_t)
		_ = f.Chown(int(own.Uid), int(own.Gid))
	}
}

// Profile implements head.Store.
func (s *Store) Profile(ctx context.Context, course, node string) (p head.Profile, err error) {
	if err := errors.Join(head.Check(ctx, course, ""), head.CheckNode(node)); err != nil {
		return p, err
	}
	f, err := os.Open(s.path("profiles", course, node))
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(s.root)
		return p, cmp.Or(err, head.ErrNotFound)
	}
	if err != nil {
		return p, err
	}
	defer f.Close()
	record, err := io.ReadAll(io.LimitReader(f, head.MaxProfileRecord+1))
	if err != nil {
		return p, err
	}
	return head.DecodeProfile(course, node, record)
}

// Profiles implements head.Store.
func (s *Store) Profiles(ctx context.Context, course string) (all []head.Profile, err error) {
	if err := head.Check(ctx, course, ""); err != nil {
		return nil, err
	}
	nodes, err := s.names(ctx, head.CheckNode, "profiles", course)
	for _, node := range nodes[:min(len(nodes), head.MaxProfiles)] {
		if p, err := s.Profile(ctx, course, node); err == nil { // else swept meanwhile, damaged, or not for us
			all = append(all, p)
		}
	}
	return all, err
}

// sweepProfiles removes those last written before the cutoff, but for keep. What this user may
// not remove stays: it hurts nobody.
func (s *Store) sweepProfiles(ctx context.Context, before time.Time, keep map[string]bool) error {
	courses, err := s.names(ctx, head.CheckCourse, "profiles")
	for _, c := range courses {
		dir := s.path("profiles", c)
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if st, err := e.Info(); err == nil && st.ModTime().Before(before) && !keep[c+"/"+e.Name()] {
				_ = os.Remove(s.path("profiles", c, e.Name()))
			}
		}
		_ = os.Remove(dir) // refuses, rightly, while it holds anything
	}
	return err
}
