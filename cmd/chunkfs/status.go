package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

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
			ended := daemon(ctx, point)
			busy, err := chunkfs.Detach(ctx, point)
			if err == nil && busy {
				env.Log.Warn().Msg("still in use: detached, and served until its users are done")
			}
			if err == nil && !busy {
				ended(5 * time.Second)
			}
			return err
		},
	}
}

// daemon finds who serves the mount. Waiting for its end lets the caller take the
// cache's directory away, or use it anew. Who cannot be found, as from another pid
// namespace, is not waited for.
func daemon(ctx context.Context, point string) (wait func(limit time.Duration)) {
	wait = func(time.Duration) {}
	if chunkfs.Answers(ctx, point) != nil {
		return wait
	}
	var st struct{ PID int }
	b, err := os.ReadFile(filepath.Join(point, ".chunkfs", "status.json"))
	if err != nil || json.Unmarshal(b, &st) != nil || st.PID <= 1 {
		return wait
	}
	fd, err := unix.PidfdOpen(st.PID, 0)
	if err != nil {
		return wait
	}
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", st.PID)); err != nil || !strings.HasPrefix(filepath.Base(exe), "chunkfs") {
		unix.Close(fd)
		return wait
	}
	return func(limit time.Duration) {
		defer unix.Close(fd)
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(limit.Milliseconds()))
	}
}
