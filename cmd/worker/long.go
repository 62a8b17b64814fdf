package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
	"github.com/prairielambda/prairielambda/jobs/runs"
	"github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
	"github.com/prairielambda/prairielambda/jobs/worker"
)

// long is `worker run`: one run that a gateway dispatched, to its end.
type long struct {
	inputs, input, work, courses, tier, python, languages string

	uid     int
	memory  cli.Size
	wall    cli.Duration
	network bool
}

func (l *long) command() *cli.Command {
	l.memory, l.wall = 512<<20, cli.Duration(10*time.Minute)
	return &cli.Command{
		Name: "run", Short: "run one program or grader, and print its output as it comes", Run: l.run,
		Long: `Prints the answers that a reader of the run would get, one JSON line each; the last one is completed.
SIGTERM ends the program. A grader finds its question and its image below --courses, a program its environment.
See nomad/run.nomad.hcl.`,
		Flags: func(fs *flag.FlagSet) {
			fs.StringVar(&l.inputs, "inputs", "", "URL of the store of inputs (required)")
			fs.StringVar(&l.input, "input", "", "digest of what to run (required)")
			fs.StringVar(&l.courses, "courses", "", "mount point of chunkfs, for graders and for programs in an environment")
			fs.StringVar(&l.work, "work", "", "an empty directory of its own (required)")
			fs.StringVar(&l.tier, "tier", "auto", "isolation to insist on: auto, root, userns, reduced")
			fs.StringVar(&l.python, "python", "/usr/bin/python3", "interpreter of the sandbox's own parts")
			fs.StringVar(&l.languages, "languages", "", languagesHelp)
			fs.IntVar(&l.uid, "base-uid", 64000, "first of the user ids that sandboxes run as, in tier root")
			fs.BoolVar(&l.network, "grader-network", false, graderNetworkHelp)
			fs.Var(&l.memory, "memory", "memory that the program may use")
			fs.Var(&l.wall, "wall", "time that it may take")
		},
	}
}

func (l *long) run(ctx context.Context, env *cli.Env, args []string) error {
	if len(args) > 0 || l.inputs == "" || l.input == "" || l.work == "" {
		return cli.Usagef("want --inputs URL --input DIGEST --work DIR")
	}
	tier, err := sandbox.ParseTier(l.tier)
	if err != nil {
		return cli.Usagef("--tier: %v", err)
	}
	if err := sandbox.EnterUserns(); err != nil {
		return err
	}
	req, err := l.request(ctx)
	if err != nil {
		return err
	}
	host, err := sandbox.Open(sandbox.Config{Tier: tier, Slots: 4, BaseUID: l.uid, Log: env.Log})
	if err != nil {
		return err
	}
	defer host.Close()
	languages, mount, err := l.needs(req)
	if err != nil {
		return err
	}
	courses, err := pool.OpenCourses(mount)
	if err != nil {
		return err
	}
	defer courses.Close()
	python := runtime.Python(l.python)
	python.Init = []byte(`{"preload":[]}`) // no call is going to need a library warm
	python.Boot = 2 * time.Minute          // many may begin at once, and none is begun a second time
	limits := jobs.Limits{Memory: int64(l.memory), Wall: time.Duration(l.wall), CPU: time.Duration(l.wall)}
	p, err := pool.New(ctx, pool.Config{
		Host: host, Courses: courses, Python: python, Program: runtime.Program, Languages: languages,
		Default: limits, Running: 1, Spares: -1, GraderNetwork: graderNetwork(l.network), Log: env.Log,
	})
	if err != nil {
		return err
	}
	defer p.Close()
	spool, err := worker.OpenRuns(p, runs.Config{Dir: filepath.Join(l.work, "runs"), Longest: time.Duration(l.wall) + time.Minute, Log: env.Log})
	if err != nil {
		return err
	}
	id, err := spool.Create(req)
	if err != nil {
		return errors.Join(err, spool.Close())
	}
	stop := context.AfterFunc(ctx, func() { spool.Close() }) // completes the run
	defer stop()
	lines := json.NewEncoder(env.Stdout)
	for from := 0; ; {
		c, err := spool.Read(context.WithoutCancel(ctx), id, "", from, time.Minute)
		if err != nil {
			return err
		}
		if len(c.Frames) == 0 && !c.Completed {
			continue
		}
		if err := lines.Encode(c); err != nil {
			return fmt.Errorf("print: %w", err)
		}
		if from += len(c.Frames); c.Completed {
			return nil
		}
	}
}

// needs are what a run needs besides a sandbox: a program its language, a grader
// or an environment the mount. What a run does not need is empty.
func (l *long) needs(req *jobs.RunRequest) (languages *runtime.Languages, mount string, err error) {
	languages, mount = new(runtime.Languages), l.courses
	switch {
	case req.Grading == nil && req.Program.Environment == "":
		mount = filepath.Join(l.work, "courses")
		if err := os.MkdirAll(mount, 0o755); err != nil {
			return nil, "", fmt.Errorf("work: %w", err)
		}
	case mount == "":
		return nil, "", cli.Usagef("a grader, or a program in an environment, needs --courses: the mount point of chunkfs")
	}
	if req.Grading == nil {
		name, _, _ := strings.Cut(req.Program.Runtime, "@") // the gateway wrote it out
		more, err := languagesIn(l.languages)
		if err != nil {
			return nil, "", err
		}
		if languages, err = runtime.LoadLanguage(name, more...); err != nil {
			return nil, "", err
		}
	}
	return languages, mount, nil
}

// request is the input, as the gateway put it.
func (l *long) request(ctx context.Context) (*jobs.RunRequest, error) {
	digest, err := blob.ParseDigest(l.input)
	if err != nil {
		return nil, cli.Usagef("--input: %v", err)
	}
	store, err := storage.Open(ctx, l.inputs)
	if err != nil {
		return nil, cli.WithCode(cli.ExitUnavailable, err)
	}
	defer store.Close()
	b, err := store.Blobs.Fetch(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("read the run: %w", err)
	}
	var r jobs.RunRequest
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("read the run: %w", err)
	}
	return &r, nil
}
