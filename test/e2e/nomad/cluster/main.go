// Command cluster is `make cluster` and `make cluster-down`: a Nomad cluster on
// this machine that serves the sample course, until it is taken down.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/prairielambda/prairielambda/test/e2e/nomad"
)

// Short, because paths of sockets below it must stay short.
const dir = "/tmp/prairie-cluster"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case os.Geteuid() != 0:
		err = fmt.Errorf("needs root: it makes namespaces and mounts")
	case len(os.Args) == 2 && os.Args[1] == "up":
		err = up(ctx)
	case len(os.Args) == 2 && os.Args[1] == "down":
		err = nomad.Down(ctx, dir)
	default:
		err = fmt.Errorf("usage: cluster up|down")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func up(ctx context.Context) error {
	program, err := nomad.Program(true)
	if err != nil {
		return err
	}
	c, err := nomad.NewCluster(program, dir)
	if c == nil {
		return err
	}
	var d *nomad.Deployment
	var gateways []string
	if err == nil {
		err = c.Start(ctx)
	}
	if err == nil {
		d, gateways, err = c.Deploy(ctx, filepath.Join(nomad.Root(), "bin"), filepath.Join(nomad.Root(), "test/course/sample"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "it did not come up; taking it down again")
		if e := nomad.Down(context.WithoutCancel(ctx), dir); e != nil {
			fmt.Fprintln(os.Stderr, e)
		}
		return err
	}
	for _, n := range c.Nodes[:3] {
		fmt.Println("nomad", n.Agent.Address)
	}
	workers, err := d.Services("prairie-worker")
	if err != nil {
		return err
	}
	for _, w := range workers {
		fmt.Println("worker", w)
	}
	for _, g := range gateways {
		fmt.Println("gateway", g)
	}
	fmt.Println("token", d.Secret)
	return nil
}
