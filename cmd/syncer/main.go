// Command syncer puts versions of courses into a store and looks after them there.
package main

import "github.com/prairielambda/prairielambda/internal/cli"

func main() { cli.Main(root()) }

func root() *cli.Command {
	return &cli.Command{
		Name:  "syncer",
		Short: "put versions of courses into a store and look after them there",
		Sub: []*cli.Command{
			push(), status(), list(), diff(), verify(), pull(), gc(), rollback(), keep(), remove(), serve(),
		},
	}
}
