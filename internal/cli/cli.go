// Package cli is the one frame that all of our commands share: flags that also
// read the environment, logs on stderr, results on stdout, signals, and exit codes.
//
// It guarantees that every command understands --help, --version and
// --log-level, that flags may stand before or after positional arguments, that
// each flag also reads PRAIRIE_<NAME> (dashes become underscores), and that the
// process ends with one of the codes below. It refuses unknown flags and
// commands with code 2 and one line that names them.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/peterbourgon/ff/v3"
	"github.com/rs/zerolog"
	"golang.org/x/term"
)

// Command is one command or a group of them. A group has Sub and no Run.
type Command struct {
	Name  string
	Usage string // positional arguments, as in "COURSE PATH"
	Short string // one line for the list of commands
	Long  string // paragraphs for --help
	Flags func(*flag.FlagSet)
	Run   func(ctx context.Context, env *Env, args []string) error
	Sub   []*Command
}

// Env is what a command may touch of its process, so that tests can replace it.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer // results only
	Stderr io.Writer // logs, progress and errors
	Log    zerolog.Logger
}

// Main runs root with the process's arguments and exits. SIGINT and SIGTERM
// cancel the command's context once; a second one ends the process at once.
func Main(root *Command) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // the default action is back: a second signal kills
	}()
	env := &Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	os.Exit(Run(ctx, root, os.Args[1:], env))
}

// Run executes the command that args name and returns its exit code.
func Run(ctx context.Context, root *Command, args []string, env *Env) int {
	cmd, path := root, root.Name
	for len(cmd.Sub) > 0 && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		next := cmd.find(args[0])
		if next == nil {
			fmt.Fprintf(env.Stderr, "%s: unknown command %q; see %s --help\n", path, args[0], path)
			return ExitUsage
		}
		cmd, path, args = next, path+" "+next.Name, args[1:]
	}
	err := cmd.run(ctx, path, args, env)
	if err == nil {
		return ExitOK
	}
	if errors.Is(err, flag.ErrHelp) {
		return ExitOK
	}
	code := ExitCode(err)
	if code == ExitInterrupted && ctx.Err() == nil {
		code = ExitFailed // cancelled by itself, not by a signal
	}
	if msg := err.Error(); msg != "" {
		fmt.Fprintf(env.Stderr, "%s: %s\n", path, msg)
	}
	return code
}

func (c *Command) find(name string) *Command {
	for _, s := range c.Sub {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func (c *Command) run(ctx context.Context, path string, args []string, env *Env) error {
	fs := flag.NewFlagSet(path, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	level := fs.String("log-level", "info", "least severe log line to print: debug, info, warn, error")
	version := fs.Bool("version", false, "print the version and exit")
	if c.Flags != nil {
		c.Flags(fs)
	}
	pos, err := parse(fs, args)
	if errors.Is(err, flag.ErrHelp) {
		c.help(env.Stdout, path, fs)
		return err
	}
	if err != nil {
		return Usagef("%v; see %s --help", err, path)
	}
	if *version {
		fmt.Fprintln(env.Stdout, Version())
		return nil
	}
	if c.Run == nil {
		c.help(env.Stderr, path, fs)
		return &codeError{code: ExitUsage, err: errors.New("")}
	}
	lvl, err := zerolog.ParseLevel(*level)
	if err != nil {
		return Usagef("--log-level %q: use debug, info, warn or error", *level)
	}
	env.Log = newLogger(env.Stderr, lvl)
	return c.Run(ctx, env, pos)
}

// parse accepts flags between and after positional arguments, which the flag
// package alone does not; "--" ends the flags.
func parse(fs *flag.FlagSet, args []string) (pos []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if used := len(args) - len(rest); used > 0 && args[used-1] == "--" {
			pos = append(pos, rest...)
			break
		}
		if len(rest) == 0 {
			break
		}
		pos, args = append(pos, rest[0]), rest[1:]
	}
	// Flags that the command line set stay; ff fills the others from the environment.
	return pos, ff.Parse(fs, nil, ff.WithEnvVarPrefix("PRAIRIE"))
}

func (c *Command) help(w io.Writer, path string, fs *flag.FlagSet) {
	fmt.Fprintf(w, "%s: %s\n\nusage: %s", path, c.Short, path)
	if len(c.Sub) > 0 {
		fmt.Fprint(w, " COMMAND ...\n\n")
		for _, s := range c.Sub {
			fmt.Fprintf(w, "  %-12s %s\n", s.Name, s.Short)
		}
		return
	}
	fmt.Fprintf(w, " [flags] %s\n", c.Usage)
	if c.Long != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.Long))
	}
	fmt.Fprintln(w, "\nflags (each also reads PRAIRIE_<NAME> from the environment):")
	fs.SetOutput(w)
	fs.PrintDefaults()
}

func newLogger(w io.Writer, lvl zerolog.Level) zerolog.Logger {
	if IsTerminal(w) {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000"}
	}
	return zerolog.New(w).Level(lvl).With().Timestamp().Logger()
}

// IsTerminal reports whether somebody may be watching what is written to w.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Version names the build: the module's version, or the commit it was built from.
func Version() string {
	bi, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	rev, dirty := "", ""
	for _, s := range bi.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	if rev == "" {
		return bi.Main.Version
	}
	return bi.Main.Version + " (" + rev[:min(12, len(rev))] + dirty + ")"
}
