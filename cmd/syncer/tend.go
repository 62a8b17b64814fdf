package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/syncer"
)

func verify() *cli.Command {
	var o opts
	return &cli.Command{
		Name: "verify", Usage: "[COURSE]", Short: "read and hash everything that can be reached",
		Long:  "Exit code 1 and one line for each problem if anything is missing or damaged.\n`syncer push --full` repairs a version whose source is at hand.",
		Flags: o.flags,
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if err := nargs(args, 0, 1, "[COURSE]"); err != nil {
				return err
			}
			course := ""
			if len(args) == 1 {
				course = args[0]
			}
			return o.with(ctx, env, syncer.Config{}, false, func(s *syncer.Syncer, _ *storage.Store) error {
				r, err := s.Verify(ctx, course)
				if err != nil {
					return err
				}
				if o.json {
					if err := printJSON(env.Stdout, r); err != nil {
						return err
					}
				} else {
					for _, p := range r.Problems {
						fmt.Fprintln(env.Stdout, p)
					}
					fmt.Fprintf(env.Stdout, "%d courses, %d environments, %d versions, %d blobs, %s: %d problems\n", r.Courses, r.Environments, r.Versions, r.Blobs, bytes(r.Bytes), len(r.Problems))
				}
				if len(r.Problems) > 0 {
					return cli.Silent(cli.ExitFailed)
				}
				return nil
			})
		},
	}
}

func pull() *cli.Command {
	var o opts
	return &cli.Command{
		Name: "pull", Usage: "COURSE[@VERSION] DIR", Short: "write a version into a new or empty directory",
		Flags: o.flags,
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if err := nargs(args, 2, 2, "COURSE[@VERSION] DIR"); err != nil {
				return err
			}
			course, version, err := ref(args[0])
			if err != nil {
				return err
			}
			return o.with(ctx, env, syncer.Config{}, false, func(s *syncer.Syncer, _ *storage.Store) error {
				v, err := s.Pull(ctx, course, version, args[1])
				if err != nil {
					return err
				}
				if o.json {
					return printJSON(env.Stdout, v)
				}
				fmt.Fprintf(env.Stdout, "%s: %d files of version %s\n", args[1], v.Files, v.Version)
				return nil
			})
		},
	}
}

func gc() *cli.Command {
	var o opts
	var p syncer.GCPolicy
	within, grace := cli.Duration(400*24*time.Hour), cli.Duration(24*time.Hour)
	return &cli.Command{
		Name: "gc", Short: "remove old versions, and then what nothing reaches",
		Long: `
Of each course it keeps the head's version, versions marked with 'syncer keep',
the newest --keep-last, and those pushed --keep-within. What they do not reach is
deleted when nobody stored or asked for it for the grace period. Pushes may run
meanwhile as long as each takes less than that; 0s is for a store at rest.

Of environments that were built of a recipe nobody gave a name, it keeps those that
a version of a course names, that are marked, or that were built or asked for
--keep-within.`,
		Flags: func(fs *flag.FlagSet) {
			o.flags(fs)
			fs.IntVar(&p.Last, "keep-last", 50, "keep this `number` of versions of each course")
			fs.Var(&within, "keep-within", "keep versions pushed within this `time`, as in 400d")
			fs.Var(&grace, "grace", "spare what was stored within this `time`, as in 24h")
			fs.BoolVar(&p.DryRun, "dry-run", false, "change nothing, print what would be done")
		},
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if err := nargs(args, 0, 0, ""); err != nil {
				return err
			}
			if p.Last < 0 {
				return cli.Usagef("--keep-last %d: want 0 or more", p.Last)
			}
			p.Within, p.Grace = time.Duration(within), time.Duration(grace)
			return o.with(ctx, env, syncer.Config{}, false, func(s *syncer.Syncer, _ *storage.Store) error {
				r, err := s.GC(ctx, p)
				if err != nil {
					return err
				}
				if o.json {
					return printJSON(env.Stdout, r)
				}
				fmt.Fprintf(env.Stdout, "versions: %d kept, %d removed, %d purged; blobs: %d kept, %d removed (%s)\n",
					r.VersionsKept, r.VersionsRemoved, r.VersionsPurged, r.BlobsKept, r.BlobsRemoved, bytes(r.BytesRemoved))
				return nil
			})
		},
	}
}

func rollback() *cli.Command {
	var o mover
	return &cli.Command{
		Name: "rollback", Usage: "COURSE VERSION", Short: "move a course's head to a version that the store has",
		Flags: o.flags,
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if err := nargs(args, 2, 2, "COURSE VERSION"); err != nil {
				return err
			}
			return o.with(ctx, env, syncer.Config{}, false, func(s *syncer.Syncer, _ *storage.Store) error {
				h, err := s.Rollback(ctx, args[0], args[1])
				if err != nil {
					return err
				}
				if o.json {
					return printJSON(env.Stdout, h)
				}
				fmt.Fprintf(env.Stdout, "%s is now at %s, move %d\n", h.Course, h.Version, h.Sequence)
				return nil
			})
		},
	}
}

func keep() *cli.Command {
	var o opts
	var drop bool
	return &cli.Command{
		Name: "keep", Usage: "COURSE VERSION", Short: "protect a version from gc",
		Flags: func(fs *flag.FlagSet) {
			o.flags(fs)
			fs.BoolVar(&drop, "drop", false, "protect it no longer")
		},
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if err := nargs(args, 2, 2, "COURSE VERSION"); err != nil {
				return err
			}
			return o.with(ctx, env, syncer.Config{}, false, func(s *syncer.Syncer, _ *storage.Store) error {
				return s.Keep(ctx, args[0], args[1], !drop)
			})
		},
	}
}

func remove() *cli.Command {
	var o opts
	return &cli.Command{
		Name: "rm", Usage: "COURSE", Short: "remove a course and leave its versions to gc",
		Flags: o.flags,
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if err := nargs(args, 1, 1, "COURSE"); err != nil {
				return err
			}
			return o.with(ctx, env, syncer.Config{}, false, func(s *syncer.Syncer, _ *storage.Store) error {
				n, err := s.Remove(ctx, args[0])
				if err != nil {
					return err
				}
				if o.json {
					return printJSON(env.Stdout, map[string]any{"course": args[0], "versions_removed": n})
				}
				fmt.Fprintf(env.Stdout, "%s is gone, and %d versions with it; gc frees the space after its grace period\n", args[0], n)
				return nil
			})
		},
	}
}
