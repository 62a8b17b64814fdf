package main

import (
	"flag"

	"github.com/rs/zerolog"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
)

type nomadFlags struct {
	addresses cli.Strings
	service   string
}

func (f *nomadFlags) register(fs *flag.FlagSet) {
	fs.Var(&f.addresses, "nomad", "address of a Nomad agent that knows the workers; may be given several times; NOMAD_TOKEN lets in")
	fs.StringVar(&f.service, "nomad-service", "prairie-worker", "name of the workers' service in Nomad")
}

// source is nil when no agent is named.
func (f *nomadFlags) source(log zerolog.Logger) (fleet.Source, error) {
	if len(f.addresses) == 0 {
		return nil, nil
	}
	n, err := fleet.NewNomad(fleet.NomadConfig{Addresses: f.addresses, Service: f.service, Log: log})
	if err != nil {
		return nil, cli.WithCode(cli.ExitUsage, err)
	}
	return n, nil
}
