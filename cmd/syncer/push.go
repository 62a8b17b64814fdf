package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/prairielambda/prairielambda/syncer/git"
)

func push() *cli.Command {
	var o mover
	var rev string
	var worktree, full, quiet bool
	return &cli.Command{
		Name: "push", Usage: "COURSE PATH", Short: "make a version of a course and move its head there",
		Long: `
Reads the commit that --rev names from the git repository at PATH, or with
--worktree the files at PATH as they are now (PATH need not be a repository; at the
top of one, what git ignores is left out).
What the store has already is neither read nor sent. The version is current for
every mount when the command ends; if it fails or is killed, nothing changed, and
running it again finishes the work.

Exit code 4: another push moved the head in between; push again.`,
		Flags: func(fs *flag.FlagSet) {
			o.flags(fs)
			fs.StringVar(&rev, "rev", "HEAD", "the `revision` to push")
			fs.BoolVar(&worktree, "worktree", false, "push the files as they are now, not a commit")
			fs.BoolVar(&full, "full", false, "read everything and repair what the store lost")
			fs.BoolVar(&quiet, "quiet", false, "print no progress")
		},
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if err := nargs(args, 2, 2, "COURSE PATH"); err != nil {
				return err
			}
			course, path := args[0], args[1]
			var cfg syncer.Config
			src, save, err := source(path, rev, worktree)
			if err != nil {
				return err
			}
			var bar progress
			if !quiet {
				bar = newProgress(env.Stderr)
				cfg.Progress = bar.show
			}
			return o.with(ctx, env, cfg, true, func(s *syncer.Syncer, _ *storage.Store) error {
				do := s.Push
				if full {
					do = s.Repush
				}
				r, err := do(ctx, course, src)
				bar.end()
				if err != nil {
					return err
				}
				if err := save(); err != nil {
					env.Log.Warn().Err(err).Msg("the next push will read every file again")
				}
				if o.json {
					return printJSON(env.Stdout, r)
				}
				fmt.Fprintf(env.Stdout, "%s is now at %s: %d files, %d of %d chunks changed, %d blobs (%s) stored in %.2f s\n",
					r.Course, r.Version, r.Files, r.ChunksChanged, r.Chunks, r.BlobsUploaded, bytes(r.BytesUploaded), r.Seconds)
				return nil
			})
		},
	}
}

// source chooses between a commit and a directory, and says how to remember the
// directory's files for the next time.
func source(path, rev string, worktree bool) (syncer.Source, func() error, error) {
	if st, err := os.Stat(path); err != nil {
		return nil, nil, err
	} else if !st.IsDir() {
		return nil, nil, fmt.Errorf("%s is not a directory", path)
	}
	if !worktree {
		if !git.Is(path) {
			return nil, nil, fmt.Errorf("%s: %w; use --worktree to push a directory as it is", path, git.ErrNotRepository)
		}
		return syncer.Git(path, rev), func() error { return nil }, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return syncer.Dir(abs, nil), func() error { return nil }, nil // no home, no memory
	}
	cache = filepath.Join(cache, "prairielambda", "stats")
	file := filepath.Join(cache, blob.Sum([]byte(abs)).String())
	stats, err := syncer.LoadStats(file)
	if err != nil {
		return nil, nil, err
	}
	return syncer.Dir(abs, stats), func() error {
		if err := os.MkdirAll(cache, 0o700); err != nil {
			return err
		}
		return stats.Save(file)
	}, nil
}
