package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/syncer"
)

// opts are the flags that every command has.
type opts struct {
	store string
	json  bool
}

func (o *opts) flags(fs *flag.FlagSet) {
	fs.StringVar(&o.store, "store", "", "the store's `URL`: dir:///absolute/path or gs://bucket/prefix")
	fs.BoolVar(&o.json, "json", false, "print the result as JSON")
}

// with opens the store, runs fn and maps its error to an exit code.
func (o *opts) with(ctx context.Context, env *cli.Env, cfg syncer.Config, create bool, fn func(*syncer.Syncer, *storage.Store) error) error {
	if o.store == "" {
		return cli.Usagef("--store is missing; give dir:///absolute/path or gs://bucket/prefix")
	}
	open := storage.Open
	if create {
		open = storage.Create
	}
	st, err := open(ctx, o.store)
	if err != nil {
		return exit(err)
	}
	cfg.Blobs, cfg.Heads, cfg.Log = st.Blobs, st.Heads, env.Log
	return exit(errors.Join(fn(syncer.New(cfg), st), st.Close()))
}

// mover are the flags of a command that moves heads.
type mover struct {
	opts
	sign string
}

func (o *mover) flags(fs *flag.FlagSet) {
	o.opts.flags(fs)
	fs.StringVar(&o.sign, "sign", "", "sign heads with the ed25519 key in this `file` (64 hex digits)")
}

// with is opts' with a key.
func (o *mover) with(ctx context.Context, env *cli.Env, cfg syncer.Config, create bool, fn func(*syncer.Syncer, *storage.Store) error) (err error) {
	if cfg.Sign, err = readKey(o.sign); err != nil {
		return err
	}
	return o.opts.with(ctx, env, cfg, create, fn)
}

// exit maps errors to exit codes, in this one place.
func exit(err error) error {
	var offline *net.OpError // not net.Error, which every errno is
	var at *url.Error
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, head.ErrConflict):
		return cli.WithCode(cli.ExitConflict, err)
	case errors.As(err, &offline), errors.As(err, &at), errors.Is(err, context.DeadlineExceeded):
		return cli.WithCode(cli.ExitUnavailable, err)
	}
	return err
}

// printJSON prints v on one line.
func printJSON(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

// nargs refuses a wrong number of arguments; usage names them.
func nargs(args []string, lo, hi int, usage string) error {
	if len(args) < lo || len(args) > hi {
		return cli.Usagef("want the arguments %s, got %d", usage, len(args))
	}
	return nil
}

// ref splits COURSE[@VERSION].
func ref(s string) (course, version string, err error) {
	course, version, at := strings.Cut(s, "@")
	if err := head.CheckCourse(course); err != nil {
		return "", "", cli.Usagef("%v", err)
	}
	if at && version != "current" {
		if err := head.CheckVersion(version); err != nil {
			return "", "", cli.Usagef("%v", err)
		}
	}
	return course, version, nil
}

// bytes prints a size for people.
func bytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}

// readKey reads an ed25519 seed; no name, no key.
func readKey(file string) (ed25519.PrivateKey, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, errors.New(file + ": want an ed25519 seed of 64 hex digits")
	}
	return ed25519.NewKeyFromSeed(seed), nil
}
