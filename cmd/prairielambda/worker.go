package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/prairielambda/prairielambda/jobs/pool"
	"github.com/prairielambda/prairielambda/jobs/runs"
	lang "github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
	"github.com/prairielambda/prairielambda/jobs/ticket"
	"github.com/prairielambda/prairielambda/jobs/worker"
)

// enterUserns returns in the process that works: as root this one, otherwise one
// inside a user namespace of the caller's.
func enterUserns() {
	if err := sandbox.EnterUserns(); err != nil {
		_ = json.NewEncoder(os.Stdout).Encode(childReady{Error: err.Error()})
		os.Exit(1)
	}
}

// workerChild is a worker of its own for one author: sandbox.Open -> pool.New -> worker.New.
func workerChild(ctx context.Context, cfg childConfig, log zerolog.Logger, ready func(childReady)) error {
	tier, err := sandbox.ParseTier(cfg.Tier)
	if err != nil {
		return err
	}
	host, err := sandbox.Open(sandbox.Config{Tier: tier, Slots: 32, Cgroup: cfg.Cgroup, Log: log})
	if err != nil {
		return err
	}
	defer host.Close()
	courses, err := pool.OpenCourses(cfg.Point)
	if err != nil {
		return err
	}
	defer courses.Close()
	programs := new(lang.Languages)
	if cfg.Programs {
		if programs, err = lang.LoadLanguages(); err != nil {
			return err
		}
	}
	p, err := pool.New(ctx, pool.Config{
		Host: host, Courses: courses, Python: lang.Python(cfg.Python), Program: lang.Program, Languages: programs, Log: log,
	})
	if err != nil {
		return err
	}
	defer p.Close()
	spools, err := worker.OpenRuns(p, runs.Config{Dir: cfg.Runs, Log: log})
	if err != nil {
		return err
	}
	defer spools.Close()
	version, digest, err := lang.Describe(cfg.Python)
	if err != nil {
		return err
	}
	tickets := ticket.NewVerifier(ed25519.PublicKey(cfg.TicketPub))
	w := worker.New(worker.Config{
		Pool: p, Courses: courses, Runs: spools, Name: spools.Name(), Tickets: tickets, Tier: string(host.Tier()), Log: log,
		Runtimes: programs.Offer(version, digest),
	})
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", w)
	mux.Handle("POST "+trialsPath, &trials{p, tickets, cfg.Point})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	answer := childReady{Address: ln.Addr().String(), Tier: string(host.Tier()), Runtimes: programs.Describe()}
	for _, l := range host.Layers() {
		answer.Layers = append(answer.Layers, wall(l))
	}
	ready(answer)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = w.Drain(grace) // whoever asked is gone, too
	return srv.Close()
}
