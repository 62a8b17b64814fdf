package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/syncer"
)

// courseStatus is one course in `syncer status --json`.
type courseStatus struct {
	head.Head
	Versions []versionStatus `json:"versions,omitempty"`
}

type versionStatus struct {
	head.Version
	Current bool `json:"current"`
	Kept    bool `json:"kept"`
}

func status() *cli.Command {
	var o opts
	return &cli.Command{
		Name: "status", Usage: "[COURSE]", Short: "list the courses of a store, or the versions of one",
		Flags: o.flags,
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if err := nargs(args, 0, 1, "[COURSE]"); err != nil {
				return err
			}
			return o.with(ctx, env, syncer.Config{}, false, func(_ *syncer.Syncer, st *storage.Store) error {
				if len(args) == 1 {
					return statusOf(ctx, env, &o, st.Heads, args[0])
				}
				return statusAll(ctx, env, &o, st.Heads)
			})
		},
	}
}

func statusAll(ctx context.Context, env *cli.Env, o *opts, heads head.Store) error {
	names, err := heads.List(ctx)
	if err != nil {
		return err
	}
	all := []courseStatus{}
	w := tabwriter.NewWriter(env.Stdout, 0, 8, 2, ' ', 0)
	for _, c := range names {
		if _, is := head.EnvName(c); is {
			continue // `env ls` lists those
		}
		h, _, err := heads.Get(ctx, c)
		if err != nil {
			return fmt.Errorf("head of %s: %w", c, err)
		}
		all = append(all, courseStatus{Head: h})
		if !o.json {
			fmt.Fprintf(w, "%s\t%s\tmove %d\t%s\n", h.Course, h.Version, h.Sequence, h.Time.Format(time.RFC3339))
		}
	}
	if o.json {
		return printJSON(env.Stdout, all)
	}
	return w.Flush()
}

func statusOf(ctx context.Context, env *cli.Env, o *opts, heads head.Store, course string) error {
	h, _, err := heads.Get(ctx, course)
	if err != nil {
		return fmt.Errorf("head of %s: %w", course, err)
	}
	c := courseStatus{Head: h}
	if err := heads.ListVersions(ctx, course, func(r head.Stored) error {
		if r.Removed.IsZero() {
			c.Versions = append(c.Versions, versionStatus{r.Version, r.Version.Version == h.Version, r.Kept})
		}
		return nil
	}); err != nil {
		return err
	}
	slices.SortFunc(c.Versions, func(a, b versionStatus) int {
		return cmp.Or(b.Time.Compare(a.Time), strings.Compare(a.Version.Version, b.Version.Version))
	})
	if o.json {
		return printJSON(env.Stdout, c)
	}
	w := tabwriter.NewWriter(env.Stdout, 0, 8, 2, ' ', 0)
	for _, v := range c.Versions {
		mark := ""
		if v.Current {
			mark += " current"
		}
		if v.Kept {
			mark += " kept"
		}
		title := ""
		if v.Git != nil {
			title = v.Git.Title
		}
		fmt.Fprintf(w, "%s\t%s\t%d files\t%s\t%q%s\n", v.Version.Version, v.Time.Format(time.RFC3339), v.Files, bytes(v.Bytes), title, mark)
	}
	return w.Flush()
}

// entryStatus is one line of `syncer ls --json`.
type entryStatus struct {
	Path   string `json:"path"`
	Type   string `json:"type"` // file, exec, dir, symlink
	Size   int64  `json:"size"`
	Digest string `json:"digest,omitempty"`
	Target string `json:"target,omitempty"`
	Chunk  string `json:"chunk"`
}

func list() *cli.Command {
	var o opts
	return &cli.Command{
		Name: "ls", Usage: "COURSE[@VERSION] [PATH]", Short: "list the files of a version",
		Flags: o.flags,
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if err := nargs(args, 1, 2, "COURSE[@VERSION] [PATH]"); err != nil {
				return err
			}
			course, version, err := ref(args[0])
			if err != nil {
				return err
			}
			path := ""
			if len(args) == 2 {
				path = strings.Trim(args[1], "/")
			}
			return o.with(ctx, env, syncer.Config{}, false, func(s *syncer.Syncer, _ *storage.Store) error {
				v, err := s.Resolve(ctx, course, version)
				if err != nil {
					return err
				}
				m, err := s.Manifest(ctx, v.Manifest)
				if err != nil {
					return err
				}
				i, ok := m.Find(path)
				if !ok {
					return fmt.Errorf("%s has no %q: %w", args[0], path, head.ErrNotFound)
				}
				return printTree(env, &o, m, i, path)
			})
		},
	}
}

func printTree(env *cli.Env, o *opts, m *manifest.Manifest, i int, path string) error {
	e := m.Entry(i)
	s := entryStatus{Path: path, Size: e.Size, Target: e.Target, Chunk: m.Chunk(m.ChunkOf(i)).Name}
	switch {
	case e.Type == manifest.Dir:
		s.Type = "dir"
	case e.Type == manifest.Symlink:
		s.Type = "symlink"
	case e.Type == manifest.File && e.Exec:
		s.Type, s.Digest = "exec", e.Digest.String()
	case e.Type == manifest.File:
		s.Type, s.Digest = "file", e.Digest.String()
	default:
		s.Type = "special"
	}
	if o.json {
		if err := printJSON(env.Stdout, s); err != nil {
			return err
		}
	} else if s.Type != "dir" {
		line := fmt.Sprintf("%-8s%12d  %s", s.Type, s.Size, s.Path)
		if s.Target != "" {
			line += " -> " + s.Target
		}
		fmt.Fprintln(env.Stdout, line)
	}
	first, n := m.Children(i)
	for c := first; c < first+n; c++ {
		if err := printTree(env, o, m, c, strings.TrimPrefix(path+"/"+m.Entry(c).Name, "/")); err != nil {
			return err
		}
	}
	return nil
}

func diff() *cli.Command {
	var o opts
	return &cli.Command{
		Name: "diff", Usage: "COURSE VERSION VERSION", Short: "list the files that differ between two versions",
		Long:  "Prints A, D or M and the path of each file that was added, deleted or modified.",
		Flags: o.flags,
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if err := nargs(args, 3, 3, "COURSE VERSION VERSION"); err != nil {
				return err
			}
			return o.with(ctx, env, syncer.Config{}, false, func(s *syncer.Syncer, _ *storage.Store) error {
				return s.Diff(ctx, args[0], args[1], args[2], o.change(env))
			})
		},
	}
}

// change prints one change of a diff.
func (o *opts) change(env *cli.Env) func(syncer.Change) error {
	return func(c syncer.Change) error {
		if o.json {
			return printJSON(env.Stdout, c)
		}
		_, err := fmt.Fprintln(env.Stdout, c.Op, c.Path)
		return err
	}
}
