package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/internal/recipe"
	"github.com/prairielambda/prairielambda/internal/storage"
	installers "github.com/prairielambda/prairielambda/jobs/build"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/prairielambda/prairielambda/syncer/env/build"
)

// builder are the flags of who builds build.
type builder struct {
	maker   installers.Config
	bases   string
	base    string
	running int

	time         cli.Duration
	memory, disk cli.Size
}

func (b *builder) flags(fs *flag.FlagSet) {
	b.time, b.memory, b.disk = cli.Duration(15*time.Minute), 2<<30, 4<<30
	fs.StringVar(&b.maker.Debian, "debian-mirror", "", "`URL` of a Debian mirror; without one no Debian packages are installed")
	fs.StringVar(&b.maker.Suite, "debian-suite", "stable", "Debian `suite` of roots without a base")
	fs.StringVar(&b.maker.PipIndex, "pip-index", "", "`URL` of a simple index of Python packages")
	fs.StringVar(&b.maker.Wheels, "wheels", "", "`directory` of wheels, besides or instead of an index")
	fs.StringVar(&b.maker.NPM, "npm-registry", "", "`URL` of an npm registry")
	fs.StringVar(&b.bases, "bases", "", "`directory` of unpacked bases (default: in the user's cache)")
	fs.StringVar(&b.base, "base", "default", "`environment` that recipes without a base add to")
	fs.Var(&b.time, "build-time", "time that one step of a build may take")
	fs.Var(&b.memory, "build-memory", "memory that its programs may use")
	fs.Var(&b.disk, "build-disk", "bytes that it may add, in memory as well")
}

// with opens the sandbox's host and the service, and closes both after fn.
func (b *builder) with(e *cli.Env, s *syncer.Syncer, fn func(*build.Service) error) error {
	if b.bases == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		b.bases = filepath.Join(cache, "prairielambda", "bases")
	}
	if os.Geteuid() != 0 {
		return errors.New("building an environment takes root: its files have several owners")
	}
	host, err := sandbox.Open(sandbox.Config{Tier: sandbox.TierRoot, Slots: 2 + 2*b.running, Log: e.Log})
	if err != nil {
		return err
	}
	defer host.Close()
	b.maker.Host, b.maker.Log = host, e.Log
	b.maker.Time, b.maker.Memory, b.maker.Disk = time.Duration(b.time), int64(b.memory), int64(b.disk)
	maker, err := installers.New(b.maker)
	if err != nil {
		return cli.Usagef("%v", err)
	}
	service, err := build.New(build.Config{Syncer: s, Maker: maker, Dir: b.bases, Base: b.base, Running: b.running, Log: e.Log})
	if err != nil {
		return err
	}
	defer service.Close()
	return fn(service)
}

func envBuild() *cli.Command {
	var o mover
	var b builder
	var quiet bool
	return &cli.Command{
		Name: "build", Usage: "NAME RECIPE", Short: "build an environment of packages, and make it the newest version of NAME",
		Long: `
RECIPE is a file: environment.hcl, a requirements.txt, or JSON. It names a base
environment, Debian, Python and npm packages, files and variables.

Packages are installed in a sandbox whose only network is the mirrors given here.
First every package is given a version; a recipe of which that has been built
before is not built again.`,
		Flags: func(fs *flag.FlagSet) {
			o.flags(fs)
			b.flags(fs)
			fs.BoolVar(&quiet, "quiet", false, "print no progress")
		},
		Run: func(ctx context.Context, e *cli.Env, args []string) error {
			if err := nargs(args, 2, 2, "NAME RECIPE"); err != nil {
				return err
			}
			name, digest, err := envRef(args[0])
			if err != nil || digest != "" {
				return errors.Join(err, cli.Usagef("NAME is a name without a digest"))
			}
			r, err := readRecipe(args[1])
			if err != nil {
				return err
			}
			out := func(line string) {
				if !quiet {
					fmt.Fprintln(e.Stderr, line)
				}
			}
			return o.with(ctx, e, syncer.Config{}, true, func(s *syncer.Syncer, _ *storage.Store) error {
				return b.with(e, s, func(service *build.Service) error {
					rep, err := service.Build(ctx, name, r, out)
					if err != nil {
						return err
					}
					if o.json {
						return printJSON(e.Stdout, rep)
					}
					fmt.Fprintf(e.Stdout, "environment %s: %s stored\n", rep.Environment, bytes(rep.Bytes))
					return nil
				})
			})
		},
	}
}

func readRecipe(file string) (*recipe.Recipe, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, recipe.MaxBytes+1))
	if err != nil {
		return nil, err
	}
	return recipe.Parse(filepath.Base(file), b)
}

func envServe() *cli.Command {
	var o server
	var b builder
	return &cli.Command{
		Name: "serve", Short: "build environments for gateways: POST /v1/environments {owner, recipe}",
		Long: `
Answers with an environment that is there, or with the id of a build whose lines
GET /v1/environments/ID gives. --tokens is a file as for 'syncer serve', in which
a gateway's secret is given the course 'environments'.`,
		Flags: func(fs *flag.FlagSet) {
			o.flags(fs, "127.0.0.1:7071")
			b.flags(fs)
			fs.IntVar(&b.running, "builds", 1, "builds at once")
		},
		Run: func(ctx context.Context, e *cli.Env, args []string) error {
			if err := nargs(args, 0, 0, ""); err != nil {
				return err
			}
			return o.open(ctx, e, func(s *syncer.Syncer, allow func(secret, course string) bool, serve func(*http.ServeMux) error) error {
				return b.with(e, s, func(service *build.Service) error {
					mux := http.NewServeMux()
					mux.Handle("/", service.Handler(func(secret string) bool { return allow(secret, "environments") }))
					return serve(mux)
				})
			})
		},
	}
}
