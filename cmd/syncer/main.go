// Command syncer puts versions of courses into a store and looks after them there.
package main

import (
	"runtime/debug"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

func main() {
	sandbox.Stage() // returns unless this process is a sandbox in the making
	// A push is short: the first collection comes at 64 MiB, where a small push has
	// long ended, and above 100 MiB they come often.
	debug.SetGCPercent(1600)
	debug.SetMemoryLimit(125 << 20)
	cli.Main(root())
}

func root() *cli.Command {
	return &cli.Command{
		Name:  "syncer",
		Short: "put versions of courses into a store and look after them there",
		Sub: []*cli.Command{
			push(), status(), list(), diff(), verify(), pull(), gc(), rollback(), keep(), remove(), environments(), serve(),
		},
	}
}
