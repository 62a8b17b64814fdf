package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/prairielambda/prairielambda/syncer/pushd"
)

// server are the flags of a command that answers who has a token.
type server struct {
	mover
	listen, tokens string
}

func (o *server) flags(fs *flag.FlagSet, listen string) {
	o.mover.flags(fs)
	fs.StringVar(&o.listen, "listen", listen, "the `address` to listen on")
	fs.StringVar(&o.tokens, "tokens", "", "the `file` of tokens; required")
}

// open opens the store for fn, which hands the routes that it answers to serve.
// allow says whether a secret is good for a course.
func (o *server) open(ctx context.Context, env *cli.Env, fn func(s *syncer.Syncer, allow func(secret, course string) bool, serve func(*http.ServeMux) error) error) error {
	if o.tokens == "" {
		return cli.Usagef("--tokens is required")
	}
	allow, err := readTokens(o.tokens)
	if err != nil {
		return err
	}
	return o.with(ctx, env, syncer.Config{}, true, func(s *syncer.Syncer, _ *storage.Store) error {
		return fn(s, allow, func(mux *http.ServeMux) error {
			mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
			return listenAndServe(ctx, env, o.listen, mux)
		})
	})
}

func serve() *cli.Command {
	var o server
	var repos string
	return &cli.Command{
		Name: "serve", Short: "push on request: POST /push {course, repository, rev}",
		Long: `
Answers POST /push with the JSON of 'syncer push --json'. repository is the name
of a directory below --repositories; its configured remote, if it has one, is
fetched before the push. Pushes of one course wait for each other; different
courses go on at once. A caller names itself with 'Authorization: Bearer SECRET';
--tokens is a file of lines 'sha256-of-the-secret course[,course...]', * for all.

GET /healthz and /metrics need no token.`,
		Flags: func(fs *flag.FlagSet) {
			o.flags(fs, "127.0.0.1:7070")
			fs.StringVar(&repos, "repositories", "", "the `directory` of the repositories; required")
		},
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if err := nargs(args, 0, 0, ""); err != nil {
				return err
			}
			if repos == "" {
				return cli.Usagef("--repositories is required")
			}
			return o.open(ctx, env, func(s *syncer.Syncer, allow func(secret, course string) bool, serve func(*http.ServeMux) error) error {
				reg := prometheus.NewRegistry()
				mux := http.NewServeMux()
				mux.Handle("POST /push", pushd.New(pushd.Config{
					Syncer: s, Repositories: repos, Allow: allow, Log: env.Log, Metrics: reg,
				}))
				mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
				return serve(mux)
			})
		},
	}
}

// listenAndServe ends when ctx does, after the requests in flight.
func listenAndServe(ctx context.Context, env *cli.Env, addr string, h http.Handler) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	env.Log.Info().Str("address", ln.Addr().String()).Msg("listening")
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-gctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return srv.Shutdown(drain)
	})
	return g.Wait()
}

// readTokens makes the check of a secret for a course. The file holds hashes
// only, and is read again for every request.
func readTokens(file string) (func(secret, course string) bool, error) {
	if _, err := os.ReadFile(file); err != nil {
		return nil, err
	}
	return func(secret, course string) bool {
		b, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		sum := sha256.Sum256([]byte(secret))
		want := hex.EncodeToString(sum[:])
		ok := false
		for line := range strings.Lines(string(b)) {
			hash, courses, _ := strings.Cut(strings.TrimSpace(line), " ")
			if subtle.ConstantTimeCompare([]byte(hash), []byte(want)) != 1 {
				continue
			}
			for c := range strings.SplitSeq(courses, ",") {
				if c = strings.TrimSpace(c); c == "*" || c == course {
					ok = true
				}
			}
		}
		return ok && secret != ""
	}, nil
}
