package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/internal/telemetry"
	"github.com/prairielambda/prairielambda/jobs/ticket"
	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/builder"
	"github.com/prairielambda/prairielambda/scheduler/token"
)

type serveFlags struct {
	listen         string
	workers, hosts cli.Strings
	nomad          nomadFlags
	origins        cli.Strings
	ticketKey      string
	builder        string
	builderSecret  string
	tokens         string
	cache          string
	cacheSize      cli.Size
	tls            tlsFlags
	maxBody        cli.Size
	hedge          float64
	deadline       cli.Duration
	patience       cli.Duration
	notice, grace  cli.Duration
}

func serveCommand() *cli.Command {
	f := &serveFlags{
		maxBody: 16 << 20, deadline: cli.Duration(2 * time.Minute), patience: cli.Duration(20 * time.Second),
		grace: cli.Duration(time.Minute), cacheSize: 64 << 20,
	}
	return &cli.Command{
		Name:  "serve",
		Short: "answer calls until SIGTERM, then drain",
		Long: `Prints one line on stdout, "gateway http://ADDR", once it listens.

Without --tokens everybody who reaches the address may call, so only loopback
addresses are accepted. The tokens file is read again whenever it changes.`,
		Flags: f.register,
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if len(args) > 0 {
				return cli.Usagef("serve takes no arguments, got %q", args[0])
			}
			return f.run(ctx, env)
		},
	}
}

func (f *serveFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.listen, "listen", "127.0.0.1:7300", "address to listen on")
	fs.Var(&f.workers, "worker", "base URL of a worker; may be given several times")
	f.nomad.register(fs)
	fs.Var(&f.hosts, "host", "host name that requests may carry, besides addresses and localhost; may be given several times")
	fs.Var(&f.origins, "origin", "origin of pages that may call, as https://example.org; may be given several times")
	fs.StringVar(&f.tokens, "tokens", "", "file that says who may call; see scheduler token")
	fs.StringVar(&f.cache, "render-cache", "", "directory of its own for results of pure calls; empty keeps them in memory only")
	fs.Var(&f.cacheSize, "render-cache-memory", "memory for results of pure calls; 0 keeps none")
	f.tls.register(fs)
	fs.StringVar(&f.ticketKey, "ticket-key", "", "PEM file with the ed25519 key that signs tickets for the workers")
	fs.StringVar(&f.builder, "builder", "", "base URL of a 'syncer env serve' that builds the environments that programs bring recipes for")
	fs.StringVar(&f.builderSecret, "builder-secret", "", "file with the secret that it knows this gateway by")
	fs.Var(&f.maxBody, "max-body", "largest request body")
	fs.Float64Var(&f.hedge, "hedge-share", 0.05, "extra executions that slow calls may cost, as a share of all calls; 0 turns them off")
	fs.Var(&f.deadline, "deadline", "longest time for one call, and for one that names none")
	fs.Var(&f.patience, "patience", "how long a call waits for a worker while none is there that could run it; with --scaling, until its deadline")
	fs.Var(&f.notice, "drain-notice", "how long to go on taking calls after SIGTERM while /readyz already says no")
	fs.Var(&f.grace, "drain-grace", "how long calls in flight may take to end after that")
}

func (f *serveFlags) run(ctx context.Context, env *cli.Env) error {
	if len(f.workers) == 0 && len(f.nomad.addresses) == 0 {
		return cli.Usagef("no worker: give --worker http://ADDR or --nomad http://ADDR")
	}
	if f.tokens == "" && !isLoopback(f.listen) {
		return cli.Usagef("--listen %s is not a loopback address, and without --tokens everybody who reaches it may call", f.listen)
	}
	for i, w := range f.workers {
		f.workers[i] = strings.TrimSuffix(w, "/")
	}
	cfg := scheduler.Config{
		Workers: f.workers, Hosts: f.hosts, Origins: f.origins,
		MaxBody: int64(f.maxBody), Deadline: time.Duration(f.deadline), Patience: time.Duration(f.patience), Log: env.Log,
		CacheDir: f.cache, CacheBytes: int64(f.cacheSize),
	}
	done, err := f.nomad.apply(ctx, &cfg, env.Log)
	defer done()
	if err != nil {
		return err
	}
	if f.cacheSize == 0 {
		cfg.CacheBytes = -1
	}
	if cfg.HedgeShare = f.hedge; f.hedge == 0 {
		cfg.HedgeShare = -1
	}
	if f.tokens != "" {
		store, err := token.Open(f.tokens, env.Log)
		if err != nil {
			return err
		}
		cfg.Tokens = store
	}
	if f.builder != "" {
		secret, err := os.ReadFile(f.builderSecret)
		if err != nil {
			return fmt.Errorf("--builder-secret: %w", err)
		}
		cfg.Builder = &builder.Client{URL: f.builder, Secret: strings.TrimSpace(string(secret))}
	}
	if f.ticketKey != "" {
		sign, err := signer(f.ticketKey)
		if err != nil {
			return err
		}
		cfg.Sign = sign
	}
	tracer, flush, err := telemetry.Open(ctx, "prairie-gateway")
	if err != nil {
		return err
	}
	defer flush()
	cfg.Tracer = tracer
	g, err := scheduler.New(cfg)
	if err != nil {
		return cli.WithCode(cli.ExitUsage, err)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ln, scheme, err := f.tls.wrap(ln)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "gateway %s://%s\n", scheme, ln.Addr())
	return g.Serve(ctx, ln, time.Duration(f.notice), time.Duration(f.grace))
}

// signer reads the key once; rotating it is a restart, which workers survive
// because they accept two public keys.
func signer(file string) (func(string, string, time.Time) (string, error), error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ticket key: %w", err)
	}
	key, err := ticket.ParsePrivate(b)
	if err != nil {
		return nil, fmt.Errorf("ticket key %s: %w", file, err)
	}
	return func(course, version string, deadline time.Time) (string, error) {
		return ticket.Sign(key, ticket.New(course, version, deadline))
	}, nil
}

// isLoopback reports whether only this machine can reach the address.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
