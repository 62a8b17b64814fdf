package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/prairielambda/prairielambda/chunkfs"
	"github.com/prairielambda/prairielambda/chunkfs/holder"
	"github.com/prairielambda/prairielambda/internal/cli"
)

// hold mounts and keeps the mount; a child serves it.
func (m *mountFlags) hold(ctx context.Context, env *cli.Env, point string) error {
	binary, err := ownBinary()
	if err != nil {
		return err
	}
	files, err := chunkfs.AttachHeld(ctx, point)
	if err != nil {
		return err
	}
	env.Log.Info().Str("mountpoint", point).Str("store", m.store).Msg("mounted")
	upgrade := make(chan os.Signal, 1)
	signal.Notify(upgrade, syscall.SIGHUP)
	defer signal.Stop(upgrade)
	err = holder.Run(ctx, holder.Config{
		Files: files,
		Command: func() *exec.Cmd {
			path := binary
			if _, err := os.Stat(path); err != nil {
				path = "/proc/self/exe"
			}
			c := exec.Command(path, append([]string{"serve"}, m.args(env.Log.GetLevel())...)...)
			c.Stderr = os.Stderr
			return c
		},
		Ready: tellReady,
		Unmount: func() {
			env.Log.Info().Msg("unmounting")
			if _, err := chunkfs.Detach(context.WithoutCancel(ctx), point); err != nil {
				env.Log.Error().Err(err).Msg("cannot unmount")
			}
		},
		Grace: unmountWait, Upgrade: upgrade, Log: env.Log,
	})
	var exit *exec.ExitError
	if err != nil {
		_, _ = chunkfs.Detach(context.WithoutCancel(ctx), point)
	}
	if errors.As(err, &exit) {
		return cli.Silent(max(exit.ExitCode(), cli.ExitFailed)) // the server said why
	}
	return err
}

// ownBinary is where this program lies, so that an upgrade starts what lies there then.
func ownBinary() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", fmt.Errorf("find own binary: %w", err)
	}
	return path, nil
}

func serveCommand() *cli.Command {
	var m mountFlags
	return &cli.Command{
		Name: "serve", Short: "serve the mount that a mount command holds (it starts this one)",
		Flags: m.define,
		Run: func(ctx context.Context, env *cli.Env, _ []string) error {
			files, line, err := holder.Join(chunkfs.HeldFiles)
			if err != nil {
				return cli.Usagef("%v", err)
			}
			state, err := chunkfs.HeldState(files)
			if err != nil {
				return err
			}
			fs, done, err := m.open(ctx, env, state)
			if err != nil {
				return err
			}
			drain := make(chan struct{})
			go func() {
				if err := line.Wait(); err != nil {
					env.Log.Error().Err(err).Msg("serving on alone; the mount will end with this process")
					return
				}
				close(drain)
			}()
			if err := line.Ready(); err != nil {
				return err
			}
			if err := fs.ServeHeld(files, drain); !errors.Is(err, chunkfs.ErrDrained) {
				done()
				return err
			}
			return nil // at once: what is unfinished is the next server's
		},
	}
}
