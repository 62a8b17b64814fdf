package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/prairielambda/prairielambda/chunkfs"
	"github.com/prairielambda/prairielambda/internal/cli"
	"golang.org/x/sync/errgroup"
)

// prefetchReaders is low on purpose: prefetching must not crowd out requests.
const prefetchReaders = 4

func prefetchCommand() *cli.Command {
	return &cli.Command{
		Name: "prefetch", Usage: "MOUNTPOINT COURSE[@VERSION] [CHUNK...]", Short: "load a version into the cache ahead of need",
		Long: `Without a CHUNK, all of the version. Chunks are question/<qid>, elements, elementExtensions,
serverFilesCourse, clientFilesCourse, serverFilesCourseInstance/<ci>, clientFilesCourseInstance/<ci>
and clientFilesAssessment/<ci>/<assessment>.`,
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if len(args) < 2 {
				return cli.Usagef("want MOUNTPOINT COURSE[@VERSION] [CHUNK...]")
			}
			if err := chunkfs.Answers(ctx, args[0]); err != nil {
				return cli.WithCode(cli.ExitUnavailable, err)
			}
			course, version, ok := strings.Cut(args[1], "@")
			if !ok {
				var err error
				if version, err = os.Readlink(filepath.Join(args[0], course, "current")); err != nil {
					return fmt.Errorf("find current version: %w", err)
				}
			}
			root := filepath.Join(args[0], course, version)
			dirs := []string{root}
			if len(args) > 2 {
				dirs = nil
				for _, chunk := range args[2:] {
					dir, err := chunkDir(chunk)
					if err != nil {
						return err
					}
					dirs = append(dirs, filepath.Join(root, dir))
				}
			}
			n, err := prefetch(ctx, dirs)
			fmt.Fprintf(env.Stdout, "%d files of %s@%s are here\n", n, course, version)
			if err != nil && n > 0 {
				return cli.WithCode(cli.ExitPartial, err)
			}
			return err
		},
	}
}

// chunkDir is the directory that a chunk covers.
func chunkDir(chunk string) (string, error) {
	kind, rest, _ := strings.Cut(chunk, "/")
	switch {
	case kind == "question" && rest != "":
		return filepath.Join("questions", rest), nil
	case rest == "" && (kind == "elements" || kind == "elementExtensions" || kind == "serverFilesCourse" || kind == "clientFilesCourse"):
		return kind, nil
	case rest != "" && (kind == "serverFilesCourseInstance" || kind == "clientFilesCourseInstance"):
		return filepath.Join("courseInstances", rest, kind), nil
	case kind == "clientFilesAssessment":
		ci, assessment, ok := strings.Cut(rest, "/")
		if ok && assessment != "" {
			return filepath.Join("courseInstances", ci, "assessments", assessment, kind), nil
		}
	}
	return "", cli.Usagef("%q is not the name of a chunk; see --help", chunk)
}

// prefetch touches each blob below dirs, by reading a byte of each file and of
// each further MiB, and returns how many files it read.
func prefetch(ctx context.Context, dirs []string) (int64, error) {
	var n atomic.Int64
	var g errgroup.Group
	g.SetLimit(prefetchReaders)
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err = errors.Join(err, context.Cause(ctx)); err != nil || !d.Type().IsRegular() {
				return err
			}
			g.Go(func() error {
				err := touch(path)
				if err == nil {
					n.Add(1)
				}
				return err
			})
			return nil
		})
		if err != nil {
			err = errors.Join(err, g.Wait())
			return n.Load(), err
		}
	}
	err := g.Wait()
	return n.Load(), err
}

func touch(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	for off := int64(0); ; off += 1 << 20 {
		if _, err := f.ReadAt(b[:], off); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
