// Command scheduler is the gateway: one HTTP front for courses, in front of workers.
package main

import "github.com/prairielambda/prairielambda/internal/cli"

func main() { cli.Main(command()) }

func command() *cli.Command {
	return &cli.Command{
		Name:  "scheduler",
		Short: "the gateway in front of the workers",
		Sub:   []*cli.Command{serveCommand(), tokenCommand(), purgeCommand()},
	}
}
