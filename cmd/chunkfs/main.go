// Command chunkfs mounts a store's courses, read-only and cached.
package main

import "github.com/prairielambda/prairielambda/internal/cli"

func main() { cli.Main(root()) }

func root() *cli.Command {
	return &cli.Command{
		Name:  "chunkfs",
		Short: "read courses from a store through a bounded local cache",
		Sub:   []*cli.Command{mountCommand(), statusCommand(), prefetchCommand(), umountCommand(), serveCommand(), volumeCommand()},
	}
}
