package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func run(t *testing.T, c *Command, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errw bytes.Buffer
	code = Run(context.Background(), c, args, &Env{Stdout: &out, Stderr: &errw})
	return code, out.String(), errw.String()
}

func TestFlagsMayFollowArguments(t *testing.T) {
	var store string
	var got []string
	c := &Command{
		Name:  "x",
		Flags: func(fs *flag.FlagSet) { fs.StringVar(&store, "store", "", "") },
		Run:   func(_ context.Context, _ *Env, args []string) error { got = args; return nil },
	}
	code, _, stderr := run(t, c, "a", "--store", "dir:///s", "b", "--", "--c")
	require.Equal(t, 0, code, stderr)
	require.Equal(t, "dir:///s", store)
	require.Equal(t, []string{"a", "b", "--c"}, got)
}

func TestEnvironmentFillsFlagsAndLosesToThem(t *testing.T) {
	t.Setenv("PRAIRIE_CACHE_SIZE", "3GiB")
	size := Size(1)
	c := &Command{
		Name:  "x",
		Flags: func(fs *flag.FlagSet) { fs.Var(&size, "cache-size", "") },
		Run:   func(context.Context, *Env, []string) error { return nil },
	}
	code, _, _ := run(t, c)
	require.Equal(t, 0, code)
	require.Equal(t, Size(3<<30), size)
	code, _, _ = run(t, c, "--cache-size", "1KiB")
	require.Equal(t, 0, code)
	require.Equal(t, Size(1<<10), size)
}

func TestExitCodes(t *testing.T) {
	var ret error
	leaf := &Command{Name: "leaf", Short: "a leaf", Run: func(context.Context, *Env, []string) error { return ret }}
	root := &Command{Name: "root", Short: "a root", Sub: []*Command{leaf}}
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, ExitOK},
		{errors.New("no"), ExitFailed},
		{WithCode(ExitConflict, errors.New("race")), ExitConflict},
		{Usagef("bad"), ExitUsage},
		{context.Canceled, ExitFailed}, // the process itself was not interrupted
	} {
		ret = tc.err
		code, _, _ := run(t, root, "leaf")
		require.Equal(t, tc.want, code, "%v", tc.err)
	}
	code, _, stderr := run(t, root, "laef")
	require.Equal(t, ExitUsage, code)
	require.Contains(t, stderr, `unknown command "laef"`)
	code, _, stderr = run(t, root, "leaf", "--nope")
	require.Equal(t, ExitUsage, code)
	require.Contains(t, stderr, "-nope")
	code, stdout, _ := run(t, root, "leaf", "--help")
	require.Equal(t, ExitOK, code)
	require.Contains(t, stdout, "a leaf")
}

func TestSizesAndDurations(t *testing.T) {
	var s Size
	for in, want := range map[string]Size{"0": 0, "4096": 4096, "64KiB": 64 << 10, "10GiB": 10 << 30} {
		require.NoError(t, s.Set(in))
		require.Equal(t, want, s)
		var back Size
		require.NoError(t, back.Set(s.String()))
		require.Equal(t, want, back)
	}
	for _, bad := range []string{"", "-1", "10GB", "x", "9999999999GiB"} {
		require.Error(t, s.Set(bad), bad)
	}
	var d Duration
	require.NoError(t, d.Set("400d"))
	require.Equal(t, 400*24*time.Hour, time.Duration(d))
	require.Equal(t, "400d", d.String())
	for _, bad := range []string{"", "d", "-3s", "5", "99999999999999d"} {
		require.Error(t, d.Set(bad), bad)
	}
}

func TestOnlyATerminalIsOne(t *testing.T) {
	for name, want := range map[string]bool{"/dev/ptmx": true, "/dev/null": false} {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		require.NoError(t, err)
		defer f.Close()
		require.Equal(t, want, IsTerminal(f), name)
	}
	require.False(t, IsTerminal(io.Discard))
}
