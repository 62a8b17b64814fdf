package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/prairielambda/prairielambda/syncer/env"
)

func environments() *cli.Command {
	return &cli.Command{
		Name: "env", Short: "keep environments: the root filesystems that course code runs in",
		Sub: []*cli.Command{envPush(), envBuild(), envServe(), envList(), envDiff(), envRemove()},
	}
}

func envPush() *cli.Command {
	var o mover
	var quiet bool
	size, entries := cli.Size(16<<30), 1_000_000
	return &cli.Command{
		Name: "push", Usage: "NAME SOURCE", Short: "make an image or a root filesystem the newest version of an environment",
		Long: `
SOURCE is what 'docker save' wrote, an OCI layout (a tar or a directory), a
directory that is a root filesystem, or the name of an image in a registry. Where
that is not plain, say which: image:PATH, dir:PATH, root:FILE.tar, registry:NAME.

The image's layers are flattened and every stream is compared with the digests
that the image promises; an image that is not what it says changes nothing. What
the store has already, of any environment or course, is not stored again.`,
		Flags: func(fs *flag.FlagSet) {
			o.flags(fs)
			fs.BoolVar(&quiet, "quiet", false, "print no progress")
			fs.Var(&size, "max-size", "refuse an image that unpacks to more than this `size`")
			fs.IntVar(&entries, "max-entries", entries, "refuse an image with more than this `number` of files")
		},
		Run: func(ctx context.Context, e *cli.Env, args []string) error {
			if err := nargs(args, 2, 2, "NAME SOURCE"); err != nil {
				return err
			}
			limits := env.Limits{Bytes: int64(size), Entries: entries}
			src, err := env.Open(ctx, args[1], limits)
			if err != nil {
				return exit(err)
			}
			defer src.Close()
			return o.with(ctx, e, syncer.Config{}, true, func(s *syncer.Syncer, _ *storage.Store) error {
				r, err := env.Push(ctx, s, args[0], src, limits)
				if err != nil {
					return err
				}
				if o.json {
					return printJSON(e.Stdout, envReport{r.Course, r.Version, r.Files, r.BlobsUploaded, r.BytesUploaded, r.Seconds})
				}
				fmt.Fprintf(e.Stdout, "environment %s is now at %s: %d files, %d blobs (%s) stored in %.2f s\n",
					r.Course, r.Version, r.Files, r.BlobsUploaded, bytes(r.BytesUploaded), r.Seconds)
				return nil
			})
		},
	}
}

type envReport struct {
	Environment   string  `json:"environment"`
	Digest        string  `json:"digest"`
	Files         int     `json:"files"`
	BlobsUploaded int     `json:"blobs_uploaded"`
	BytesUploaded int64   `json:"bytes_uploaded"`
	Seconds       float64 `json:"seconds"`
}

// envRef splits NAME[@DIGEST].
func envRef(s string) (name, digest string, err error) {
	name, digest, at := strings.Cut(s, "@")
	if err := head.CheckEnv(name); err != nil {
		return "", "", cli.Usagef("%v", err)
	}
	if at && digest != "current" {
		if err := head.CheckVersion(digest); err != nil {
			return "", "", cli.Usagef("%v", err)
		}
	}
	return name, digest, nil
}

func envList() *cli.Command {
	var o opts
	return &cli.Command{
		Name: "ls", Usage: "[NAME[@DIGEST] [PATH]]", Short: "list the environments of a store, or the files of one",
		Flags: o.flags,
		Run: func(ctx context.Context, e *cli.Env, args []string) error {
			if err := nargs(args, 0, 2, "[NAME[@DIGEST] [PATH]]"); err != nil {
				return err
			}
			if len(args) == 0 {
				return o.with(ctx, e, syncer.Config{}, false, func(s *syncer.Syncer, st *storage.Store) error {
					return envAll(ctx, e, &o, s, st.Heads)
				})
			}
			name, digest, err := envRef(args[0])
			if err != nil {
				return err
			}
			path := ""
			if len(args) == 2 {
				path = strings.Trim(args[1], "/")
			}
			return o.with(ctx, e, syncer.Config{}, false, func(s *syncer.Syncer, _ *storage.Store) error {
				m, err := env.Manifest(ctx, s, name, digest)
				if err != nil {
					return err
				}
				return env.List(m, path, func(f env.File) error {
					if o.json {
						return printJSON(e.Stdout, f)
					}
					_, err := fmt.Fprintln(e.Stdout, f)
					return err
				})
			})
		},
	}
}

// envStatus is one environment in `env ls --json`.
type envStatus struct {
	Environment string    `json:"environment"`
	Digest      string    `json:"digest"`
	Files       int       `json:"files"`
	Bytes       int64     `json:"bytes"`
	Time        time.Time `json:"time"`
}

func envAll(ctx context.Context, e *cli.Env, o *opts, s *syncer.Syncer, heads head.Store) error {
	courses, err := heads.List(ctx)
	if err != nil {
		return err
	}
	all := []envStatus{}
	w := tabwriter.NewWriter(e.Stdout, 0, 8, 2, ' ', 0)
	for _, c := range courses {
		name, ok := head.EnvName(c)
		if !ok {
			continue
		}
		v, err := s.Resolve(ctx, c, "")
		if err != nil {
			return err
		}
		all = append(all, envStatus{name, v.Version, v.Files, v.Bytes, v.Time})
		fmt.Fprintf(w, "%s\t%s\t%d files\t%s\t%s\n", name, v.Version, v.Files, bytes(v.Bytes), v.Time.Format(time.RFC3339))
	}
	if o.json {
		return printJSON(e.Stdout, all)
	}
	return w.Flush()
}

func envDiff() *cli.Command {
	var o opts
	return &cli.Command{
		Name: "diff", Usage: "NAME[@DIGEST] NAME[@DIGEST]", Short: "list the files that differ between two environments",
		Long:  "Prints A, D or M and the path of each file that was added, deleted or modified: content, type, mode, owner,\nattributes or hard links. NAME DIGEST DIGEST is short for NAME@DIGEST NAME@DIGEST.",
		Flags: o.flags,
		Run: func(ctx context.Context, e *cli.Env, args []string) error {
			if err := nargs(args, 2, 3, "NAME[@DIGEST] NAME[@DIGEST]"); err != nil {
				return err
			}
			if len(args) == 3 {
				args = []string{args[0] + "@" + args[1], args[0] + "@" + args[2]}
			}
			return o.with(ctx, e, syncer.Config{}, false, func(s *syncer.Syncer, _ *storage.Store) error {
				var ms [2]*manifest.Manifest
				for i, a := range args {
					name, digest, err := envRef(a)
					if err != nil {
						return err
					}
					if ms[i], err = env.Manifest(ctx, s, name, digest); err != nil {
						return err
					}
				}
				return env.Diff(ms[0], ms[1], o.change(e))
			})
		},
	}
}

func envRemove() *cli.Command {
	var o opts
	return &cli.Command{
		Name: "rm", Usage: "NAME", Short: "remove an environment and leave its versions to gc",
		Flags: o.flags,
		Run: func(ctx context.Context, e *cli.Env, args []string) error {
			if err := nargs(args, 1, 1, "NAME"); err != nil {
				return err
			}
			name, _, err := envRef(args[0])
			if err != nil {
				return err
			}
			return o.with(ctx, e, syncer.Config{}, false, func(s *syncer.Syncer, _ *storage.Store) error {
				n, err := s.Remove(ctx, head.EnvCourse(name))
				if err != nil {
					return err
				}
				if o.json {
					return printJSON(e.Stdout, map[string]any{"environment": name, "versions_removed": n})
				}
				fmt.Fprintf(e.Stdout, "environment %s is gone, and %d versions with it; gc frees the space after its grace period\n", name, n)
				return nil
			})
		},
	}
}
