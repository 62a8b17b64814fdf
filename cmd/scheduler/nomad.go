package main

import (
	"context"
	"errors"
	"flag"
	"time"

	"github.com/rs/zerolog"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
	"github.com/prairielambda/prairielambda/scheduler/scale"
)

type nomadFlags struct {
	addresses cli.Strings
	service   string

	scaling, group string
	quiet, idle    cli.Duration

	inputs, job string
	most        int
	after       cli.Duration
	modes       cli.Strings
}

func (f *nomadFlags) register(fs *flag.FlagSet) {
	f.quiet, f.idle = cli.Duration(5*time.Minute), cli.Duration(15*time.Minute)
	f.after = cli.Duration(10 * time.Second)
	fs.StringVar(&f.inputs, "inputs", "", "URL of a store for the inputs of long runs, which are dispatched as Nomad jobs; empty leaves every run to the workers")
	fs.StringVar(&f.job, "run-job", "prairie-run", "parameterized job of long runs")
	fs.IntVar(&f.most, "long-runs", 64, "long runs that may wait or run at once")
	fs.Var(&f.after, "long-after", "a run is long when its limits ask for more time than this")
	fs.Var(&f.modes, "long-mode", "mode whose runs are always long, as prove; may be given several times")
	fs.Var(&f.addresses, "nomad", "address of a Nomad agent that knows the workers; may be given several times; NOMAD_TOKEN lets in")
	fs.StringVar(&f.service, "nomad-service", "prairie-worker", "name of the workers' service in Nomad")
	fs.StringVar(&f.scaling, "scaling", "off", "who starts and stops workers: off, nomad (this gateway, within the bounds of the job's scaling block), or external (somebody who reads prairie_gateway_workers_wanted); unless it is off, calls that find no worker wait for one")
	fs.StringVar(&f.group, "scale-group", "prairie-worker/python", "job and group to scale")
	fs.Var(&f.quiet, "scale-quiet", "how long fewer workers must have been enough before there are fewer")
	fs.Var(&f.idle, "scale-idle", "how long nobody must have called before there are none, where the bounds allow it")
}

// apply puts into cfg where workers come from and who scales them; done ends
// what it opened.
func (f *nomadFlags) apply(ctx context.Context, cfg *scheduler.Config, log zerolog.Logger) (done func(), err error) {
	done = func() {}
	if f.scaling != "off" && f.scaling != "nomad" && f.scaling != "external" {
		return done, cli.Usagef("--scaling is off, nomad or external, not %q", f.scaling)
	}
	if f.scaling != "off" {
		cfg.Scale = &scale.Config{Quiet: time.Duration(f.quiet), Idle: time.Duration(f.idle)}
	}
	if len(f.addresses) == 0 {
		if f.scaling == "nomad" || f.inputs != "" {
			return done, cli.Usagef("--scaling nomad and --inputs need --nomad ADDR")
		}
		return done, nil
	}
	n, err := fleet.NewNomad(fleet.NomadConfig{Addresses: f.addresses, Service: f.service, Log: log})
	if err != nil {
		return done, cli.WithCode(cli.ExitUsage, err)
	}
	cfg.Source, done = n, n.Close
	if f.scaling == "nomad" {
		group, err := n.Group(f.group)
		if err != nil {
			return done, cli.WithCode(cli.ExitUsage, err)
		}
		cfg.Scale.Group = group
	}
	if f.inputs != "" {
		store, err := storage.Open(ctx, f.inputs)
		if err != nil {
			return done, cli.WithCode(cli.ExitUnavailable, err)
		}
		done = func() { n.Close(); store.Close() }
		cfg.Long = n.Long(fleet.LongConfig{Job: f.job, Inputs: inputs{store.Blobs}, Most: f.most})
		cfg.LongAfter, cfg.LongModes = time.Duration(f.after), f.modes
	}
	return done, nil
}

// inputs is where programs of long runs wait for their runner.
type inputs struct{ store blob.Store }

func (i inputs) Put(ctx context.Context, b []byte) (string, error) {
	d := blob.Sum(b)
	return d.String(), errors.Join(i.store.Put(ctx, d, b), i.store.Sync(ctx))
}
