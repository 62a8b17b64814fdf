package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prairielambda/prairielambda/chunkfs"
	"github.com/prairielambda/prairielambda/internal/cli"
)

func statusCommand() *cli.Command {
	var asJSON bool
	return &cli.Command{
		Name: "status", Usage: "MOUNTPOINT", Short: "show how a mount fares",
		Flags: func(fs *flag.FlagSet) { fs.BoolVar(&asJSON, "json", false, "print JSON") },
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if len(args) != 1 {
				return cli.Usagef("want one MOUNTPOINT")
			}
			point, err := filepath.Abs(args[0])
			if err != nil {
				return fmt.Errorf("mount point: %w", err)
			}
			if err := chunkfs.Answers(ctx, point); err != nil {
				return cli.WithCode(cli.ExitUnavailable, err)
			}
			name := "status"
			if asJSON {
				name = "status.json"
			}
			b, err := os.ReadFile(filepath.Join(point, ".chunkfs", name))
			if err != nil {
				return fmt.Errorf("read status: %w", err)
			}
			_, err = env.Stdout.Write(b)
			return err
		},
	}
}

func umountCommand() *cli.Command {
	return &cli.Command{
		Name: "umount", Usage: "MOUNTPOINT", Short: "unmount; who still reads may finish",
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if len(args) != 1 {
				return cli.Usagef("want one MOUNTPOINT")
			}
			point, err := filepath.Abs(args[0])
			if err != nil {
				return fmt.Errorf("mount point: %w", err)
			}
			busy, err := chunkfs.Detach(ctx, point)
			if err == nil && busy {
				env.Log.Warn().Msg("still in use: detached, and served until its users are done")
			}
			return err
		},
	}
}
