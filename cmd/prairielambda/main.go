// Command prairielambda is for people who write courses: it serves a course on
// their own machine, tests it, calls single functions of it, and says what the
// machine lacks.
//
// It guarantees that course code runs in the same sandboxes, through the same
// mount, as on a cluster, and that nothing is left behind when it ends: no
// process, no mount, no directory but its store.
package main

import (
	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

func main() {
	sandbox.Stage() // returns unless this process is a sandbox in the making
	childMain()     // returns unless this process is one that we started
	cli.Main(root())
}

func root() *cli.Command {
	return &cli.Command{
		Name: "prairielambda", Short: "write and try course content",
		Sub: []*cli.Command{devCommand(), testCommand(), invokeCommand(), doctorCommand()},
	}
}
