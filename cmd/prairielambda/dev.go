package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/preview"
)

func devCommand() *cli.Command {
	sf := stackFlags{programs: true}
	var listen string
	return &cli.Command{
		Name: "dev", Usage: "COURSE_DIR", Short: "serve a course on this machine and follow its files",
		Long: `Serves the course's page, and the routes of the gateway, on one address. A change in
COURSE_DIR is shown at once. Variants and submissions are kept in the user's cache directory.
Ctrl-C ends it and leaves nothing behind.`,
		Flags: func(fs *flag.FlagSet) {
			sf.define(fs)
			fs.StringVar(&listen, "listen", "127.0.0.1:3000", "address to serve on; where others can reach it, only the printed addresses let a browser in")
		},
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if len(args) != 1 {
				return cli.Usagef("want one COURSE_DIR")
			}
			ln, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
			if err != nil {
				return fmt.Errorf("listen: %w; choose another address with --listen", err)
			}
			defer ln.Close()
			return sf.with(ctx, env, args[0], func(s *stack, version string) error {
				return serveDev(ctx, env, s, version, ln)
			})
		},
	}
}

// serveDev serves page and gateway until ctx ends: the page answers what is no
// route of the gateway.
func serveDev(ctx context.Context, env *cli.Env, s *stack, version string, ln net.Listener) (err error) {
	open := loopback(ln.Addr().String())
	var hosts []string
	if !open {
		hosts = []string{"*"}
	}
	page, err := preview.New(ctx, preview.Config{
		Course: s.course, Runner: s.client, Files: s.files, Dir: s.base, Tier: s.worker.ready.Tier, Log: env.Log,
		Hosts: hosts, Run: s.client.run, Runtimes: s.worker.ready.Runtimes, Grade: s.client.grade,
	})
	if err != nil {
		return err
	}
	page.Changed(version, nil)
	quiet := env.Log.Level(max(env.Log.GetLevel(), 3)) // a line a call is for operators
	gateway, err := scheduler.New(scheduler.Config{Workers: []string{s.client.url}, Sign: s.sign, Log: quiet})
	if err != nil {
		return errors.Join(err, page.Close())
	}
	address := "http://" + reachable(ln.Addr())
	handler := front(gateway, page)
	if !open {
		d := newDoor(handler, address, env.Stderr)
		handler, address = d, d.address()
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return gateway.Run(gctx) })
	group.Go(func() error { return s.ended(gctx) })
	group.Go(func() error { s.tidy(gctx); return nil })
	group.Go(func() error {
		return watch(gctx, s.source, env.Log, func(paths []string) { s.follow(gctx, env, page, paths) })
	})
	group.Go(func() error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-gctx.Done()
		page.Hush() // streams of events have no end of their own
		grace, cancel := context.WithTimeout(context.WithoutCancel(gctx), 2*time.Second)
		defer cancel()
		err := srv.Shutdown(grace)
		if err != nil {
			err = srv.Close()
		}
		return errors.Join(err, page.Close())
	})
	greet(env, s, address)
	return group.Wait()
}

// front tells the gateway's routes from the page's.
func front(gateway, page http.Handler) http.Handler {
	routes := []string{"/courses/", "/runtimes", "/run", "/run_program", "/check_output", "/download", "/healthz", "/readyz", "/metrics", "/openapi.json"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, route := range routes {
			if strings.TrimSuffix(r.URL.Path, "/") == strings.TrimSuffix(route, "/") || strings.HasSuffix(route, "/") && strings.HasPrefix(r.URL.Path, route) {
				gateway.ServeHTTP(w, r)
				return
			}
		}
		page.ServeHTTP(w, r)
	})
}

// follow makes the working tree the version shown, or says why it cannot be. It
// changed at paths and below them only, or, if they are nil, anywhere.
func (s *stack) follow(ctx context.Context, env *cli.Env, page *preview.Server, paths []string) {
	begin := time.Now()
	s.buildRecipes(ctx)
	if paths != nil {
		s.stats.Changed(paths...)
	}
	version, err := s.push(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		if page.Changed("", err) {
			env.Log.Warn().Err(err).Msg("this edit cannot be shown")
		}
		return
	}
	if page.Changed(version, nil) {
		env.Log.Info().Str("version", version[:10]).Dur("took", time.Since(begin)).Msg("shown")
	}
}

// greet prints where to look, and a call that works.
func greet(env *cli.Env, s *stack, address string) {
	if s.tree {
		fmt.Fprintf(env.Stderr, "No FUSE here (%s): serving copies of the course instead.\n", s.why)
	}
	fmt.Fprintf(env.Stdout, "%s  %s, sandbox tier %s\n", address, s.source, s.worker.ready.Tier)
	if qid := s.example(); qid != "" && !strings.Contains(address, "token=") {
		fmt.Fprintf(env.Stdout, "curl -s %s/courses/%s/current/process/%s -d '{\"method\":\"generate\",\"data\":{\"variant_seed\":1}}'\n", address, s.course, qid)
	}
}

// example is the QID of the first question that has code.
func (s *stack) example() string {
	var found string
	_ = walkQuestions(os.DirFS(s.source), func(qid string, code bool) bool {
		if found == "" || code {
			found = qid
		}
		return !code
	})
	return found
}

// reachable is an address that a browser on this machine can open: in a
// container, the one that its port is published at.
func reachable(addr net.Addr) string {
	a, err := netip.ParseAddrPort(addr.String())
	if err != nil || !a.Addr().IsUnspecified() {
		return addr.String()
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port()).String()
}

// loopback reports whether only this machine can reach the address.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
