package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/recipe"
	installers "github.com/prairielambda/prairielambda/jobs/build"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
	"github.com/prairielambda/prairielambda/syncer/env/build"
)

// recipeFlags say where the packages of a course's recipe come from.
type recipeFlags struct{ installers.Config }

func (f *recipeFlags) define(fs *flag.FlagSet) {
	fs.StringVar(&f.PipIndex, "pip-index", "", "URL of a simple index of Python packages, for environment.hcl and requirements.txt")
	fs.StringVar(&f.Wheels, "wheels", "", "directory of wheels, besides or instead of an index")
	fs.StringVar(&f.NPM, "npm-registry", "", "URL of an npm registry")
	fs.StringVar(&f.Debian, "debian-mirror", "", "URL of a Debian mirror")
	fs.StringVar(&f.Suite, "debian-suite", "stable", "Debian suite of an environment without a base")
}

// buildRecipes builds what the course says that it runs in, where it says so and
// was not built yet. What cannot be built is logged: calls of the course say it, too.
func (s *stack) buildRecipes(ctx context.Context) {
	for _, file := range []string{recipe.LambdaFile, recipe.HCLFile, recipe.RequirementsFile} {
		f, err := os.Open(filepath.Join(s.source, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var b []byte
		if err == nil {
			b, err = io.ReadAll(io.LimitReader(f, recipe.MaxBytes+1))
			f.Close()
		}
		_, r := recipe.Named(file, b)
		if err != nil || r == nil {
			continue // not a recipe, or one that the course's own calls refuse
		}
		if _, err := s.syncer.Resolve(ctx, head.EnvCourse(r.Name()), ""); err == nil {
			continue
		}
		from := s.recipes
		if from.PipIndex == "" && from.Wheels == "" && from.NPM == "" && from.Debian == "" || os.Geteuid() != 0 {
			s.log.Info().Str("file", file).Msg("not built: that takes root, and --pip-index, --wheels, --npm-registry or --debian-mirror")
			continue
		}
		begin := time.Now()
		s.log.Info().Str("file", file).Msg("building the environment")
		rep, err := s.buildRecipe(ctx, r)
		if err != nil {
			s.log.Warn().Err(err).Str("file", file).Msg("the environment could not be built")
			continue
		}
		s.log.Info().Str("environment", rep.Built).Bool("reused", rep.Reused).Dur("took", time.Since(begin)).Msg("built")
	}
}

// buildRecipe opens a host for the sandbox of one build: few courses have two.
func (s *stack) buildRecipe(ctx context.Context, r *recipe.Recipe) (rep build.Report, err error) {
	host, err := sandbox.Open(sandbox.Config{Tier: sandbox.TierRoot, Slots: 2, Log: s.log})
	if err != nil {
		return rep, err
	}
	defer host.Close()
	cfg := s.recipes.Config
	cfg.Host, cfg.Log = host, s.log
	maker, err := installers.New(cfg)
	if err != nil {
		return rep, err
	}
	service, err := build.New(build.Config{Syncer: s.syncer, Maker: maker, Dir: filepath.Join(s.base, "bases"), Log: s.log})
	if err != nil {
		return rep, err
	}
	defer service.Close()
	return service.Build(ctx, "", r, func(line string) { s.log.Info().Msg(line) })
}
