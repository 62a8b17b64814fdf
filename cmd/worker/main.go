// Command worker runs course code in sandboxes and answers a gateway.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/internal/telemetry"
	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
	"github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
	"github.com/prairielambda/prairielambda/jobs/ticket"
	"github.com/prairielambda/prairielambda/jobs/worker"
)

func main() {
	sandbox.Stage() // returns unless this process is a sandbox in the making
	cli.Main(&cli.Command{
		Name: "worker", Short: "run course code in sandboxes",
		Sub: []*cli.Command{new(serve).command(), new(long).command()},
	})
}

// serve is `worker serve`: the journey of a call is sandbox.Open -> pool.New -> worker.New.
type serve struct {
	courses, listen, tickets, tier, cgroup, python, languages, name, runs string

	slots, uid        int
	memory            cli.Size
	wall, drain, keep cli.Duration
	network           bool // of graders
}

func (s *serve) command() *cli.Command {
	s.memory, s.wall, s.drain, s.keep = 512<<20, cli.Duration(10*time.Second), cli.Duration(20*time.Second), cli.Duration(time.Hour)
	return &cli.Command{
		Name: "serve", Short: "answer a gateway until SIGTERM", Run: s.run,
		Long: `Serves the HTTP contract between gateway and worker for the courses below a mount of chunkfs.
Without root it enters a user namespace of its own first; see the tiers in the documentation.`,
		Flags: func(fs *flag.FlagSet) {
			fs.StringVar(&s.courses, "courses", "", "mount point of chunkfs (required)")
			fs.StringVar(&s.listen, "listen", "127.0.0.1:8081", "address to listen on; not loopback needs --ticket-pub")
			fs.StringVar(&s.tickets, "ticket-pub", "", "file with the gateway's public key, or two while rotating")
			fs.StringVar(&s.tier, "tier", "auto", "isolation to insist on: auto, root, userns, reduced")
			fs.StringVar(&s.cgroup, "cgroup", "", "delegated cgroup to work below (default: this process's own)")
			fs.StringVar(&s.python, "python", "/usr/bin/python3", "interpreter of the Python runtime")
			fs.StringVar(&s.languages, "languages", "", languagesHelp)
			fs.StringVar(&s.name, "name", os.Getenv("NOMAD_ALLOC_ID"), "name that survives a restart in the same place (default: that of --runs)")
			fs.StringVar(&s.runs, "runs", "", "directory for the output of asynchronous runs; with none they do not survive a restart")
			fs.Var(&s.keep, "keep-runs", "how long that output is kept after a run's end")
			fs.IntVar(&s.slots, "slots", 64, "most sandboxes at once, warm spares included")
			fs.IntVar(&s.uid, "base-uid", 64000, "first of the user ids that sandboxes run as, in tier root")
			fs.Var(&s.memory, "memory", "memory that one sandbox may use")
			fs.Var(&s.wall, "wall", "time that one call may take")
			fs.BoolVar(&s.network, "grader-network", false, graderNetworkHelp)
			fs.Var(&s.drain, "drain", "how long running calls may go on after SIGTERM")
		},
	}
}

func (s *serve) run(ctx context.Context, env *cli.Env, args []string) error {
	if len(args) > 0 {
		return cli.Usagef("unexpected argument %q", args[0])
	}
	if s.courses == "" {
		return cli.Usagef("--courses is required: the mount point of chunkfs")
	}
	tier, err := sandbox.ParseTier(s.tier)
	if err != nil {
		return cli.Usagef("--tier: %v", err)
	}
	verifier, err := s.verifier()
	if err != nil {
		return err
	}
	if tier == sandbox.TierRoot && os.Geteuid() != 0 {
		return errors.New("--tier root needs root; use --tier userns")
	}
	if err := sandbox.EnterUserns(); err != nil {
		return err
	}
	host, err := sandbox.Open(sandbox.Config{Tier: tier, Slots: s.slots, BaseUID: s.uid, Cgroup: s.cgroup, Log: env.Log})
	if err != nil {
		return err
	}
	defer host.Close()
	courses, err := pool.OpenCourses(s.courses)
	if err != nil {
		return err
	}
	defer courses.Close()
	more, err := languagesIn(s.languages)
	if err != nil {
		return err
	}
	languages, err := runtime.LoadLanguages(more...)
	if err != nil {
		return err
	}
	p, err := pool.New(ctx, pool.Config{
		Host: host, Courses: courses, Python: runtime.Python(s.python), Program: runtime.Program, Languages: languages, Log: env.Log,
		Default: jobs.Limits{Memory: int64(s.memory), Wall: time.Duration(s.wall), CPU: time.Duration(s.wall)}, GraderNetwork: graderNetwork(s.network),
	})
	if err != nil {
		return err
	}
	defer p.Close()
	version, digest, err := runtime.Describe(s.python)
	if err != nil {
		return err
	}
	spools, err := s.spools(p, env.Log)
	if err != nil {
		return err
	}
	defer spools.close()
	if s.name == "" {
		s.name = spools.Name()
	}
	tracer, flush, err := telemetry.Open(ctx, "prairie-worker")
	if err != nil {
		return err
	}
	defer flush()
	w := worker.New(worker.Config{
		Tracer: tracer,
		Pool:   p, Courses: courses, Runs: spools.Store, Tickets: verifier, Name: s.name, Tier: string(host.Tier()), Log: env.Log,
		Runtimes: languages.Offer(version, digest),
	})
	for _, l := range host.Layers() {
		env.Log.Info().Str("layer", l.Name).Bool("on", l.On).Msg("sandbox")
	}
	return s.serve(ctx, env, w, string(host.Tier()))
}

const graderNetworkHelp = "give graders whose question asks for networking a proxy to public addresses (in tier root); this machine's networks stay closed"

func graderNetwork(on bool) func(ctx context.Context, network, address string) (net.Conn, error) {
	if !on {
		return nil
	}
	return pool.DialPublic
}

func (s *serve) verifier() (*ticket.Verifier, error) {
	if s.tickets == "" {
		if host, _, err := net.SplitHostPort(s.listen); err != nil || !net.ParseIP(host).IsLoopback() {
			return nil, cli.Usagef("--listen %s is not a loopback address: give --ticket-pub, or listen on 127.0.0.1:PORT", strconv.Quote(s.listen))
		}
		return nil, nil
	}
	b, err := os.ReadFile(s.tickets)
	if err != nil {
		return nil, fmt.Errorf("read --ticket-pub: %w", err)
	}
	keys, err := ticket.ParsePublic(b)
	if err != nil {
		return nil, fmt.Errorf("--ticket-pub %s: %w", s.tickets, err)
	}
	return ticket.NewVerifier(keys...), nil
}

// serve answers until ctx ends, then lets running calls finish.
func (s *serve) serve(ctx context.Context, env *cli.Env, w *worker.Worker, tier string) error {
	ln, err := net.Listen("tcp", s.listen)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: w, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	env.Log.Info().Str("listen", ln.Addr().String()).Str("tier", tier).Msg("worker is ready")
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	env.Log.Info().Msg("draining")
	grace, cancel := context.WithTimeout(context.Background(), time.Duration(s.drain))
	defer cancel()
	if err := w.Drain(grace); err != nil {
		env.Log.Warn().Msg("some calls did not finish in time")
	}
	// Shutdown waits until what was answered has also been sent; Close would cut it.
	if err := srv.Shutdown(grace); err != nil {
		return srv.Close()
	}
	return nil
}
