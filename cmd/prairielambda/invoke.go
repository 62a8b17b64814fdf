package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/jobs"
)

// stackFlags are the flags of every command that serves a course.
type stackFlags struct {
	tier, python, cgroup string
	environments         cli.Strings
	recipes              recipeFlags
	programs             bool // not a flag: the command offers runtimes of programs, too
}

func (f *stackFlags) define(fs *flag.FlagSet) {
	fs.StringVar(&f.tier, "tier", "auto", "isolation to insist on: auto, root, userns, reduced")
	fs.StringVar(&f.cgroup, "cgroup", "", "delegated cgroup to work below (default: this process's own)")
	fs.StringVar(&f.python, "python", "/usr/bin/python3", "interpreter of the Python runtime")
	fs.Var(&f.environments, "env", "NAME=SOURCE: an environment for lambda.json and graders, of a directory or what else `syncer env push` takes; may be given several times")
	f.recipes.define(fs)
}

// with opens a stack for as long as fn runs.
func (f *stackFlags) with(ctx context.Context, env *cli.Env, dir string, fn func(s *stack, version string) error) (err error) {
	intoScope(ctx, f.cgroup)
	s, version, err := openStack(ctx, stackConfig{
		dir: dir, tier: f.tier, python: f.python, cgroup: f.cgroup, programs: f.programs, environments: f.environments, recipes: f.recipes, log: env.Log, stderr: env.Stderr,
	})
	if err != nil {
		return err
	}
	defer func() {
		if e := s.close(); e != nil && err == nil {
			err = e
		}
	}()
	return fn(s, version)
}

func invokeCommand() *cli.Command {
	var sf stackFlags
	var seed int64
	var dataFile, html string
	var asJSON bool
	return &cli.Command{
		Name: "invoke", Usage: "COURSE_DIR question QID METHOD | COURSE_DIR element NAME METHOD | COURSE_DIR phase QID METHOD",
		Short: "call one function of a course",
		Long: `Calls one function in a fresh sandbox and prints what it left: the data object, the HTML of a
render, the bytes of a file. Console output and tracebacks go to stderr.

  prairielambda invoke course question algebra/roots generate --seed 7
  prairielambda invoke course element my-input render --html '<my-input answers-name="x"></my-input>'
  prairielambda invoke course phase algebra/roots prepare --data data.json

A phase is the whole of it: mustache, markdown, elements, server.py. --data - reads the
data object from stdin. Exit code 1: the code failed, or is not there.`,
		Flags: func(fs *flag.FlagSet) {
			sf.define(fs)
			fs.Int64Var(&seed, "seed", 1, "variant seed, where the data names none")
			fs.StringVar(&dataFile, "data", "", "file with the data object, or - for stdin")
			fs.StringVar(&html, "html", "", "the element's HTML, or the page so far for a question's render")
			fs.BoolVar(&asJSON, "json", false, "print the whole result as JSON")
		},
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if len(args) != 4 {
				return cli.Usagef("want COURSE_DIR question|element|phase NAME METHOD")
			}
			kind := jobs.CallType(args[1])
			if kind != jobs.Question && kind != jobs.Element && kind != jobs.Phase {
				return cli.Usagef("%q: want question, element or phase", args[1])
			}
			data, err := readData(env.Stdin, dataFile, seed)
			if err != nil {
				return err
			}
			call := jobs.Call{Type: kind, Name: args[2], Method: args[3]}
			if html != "" {
				call.HTML = &html
			}
			inv := &jobs.Invocation{Data: data, Calls: []jobs.Call{call}}
			if kind != jobs.Element {
				inv.Question = args[2]
			}
			return sf.with(ctx, env, args[0], func(s *stack, version string) error {
				inv.Course, inv.Version = s.course, version
				res, err := s.Invoke(ctx, inv)
				if err != nil {
					return err
				}
				return show(env, res, asJSON)
			})
		},
	}
}

// readData reads the data object and gives it a seed.
func readData(stdin io.Reader, file string, seed int64) (json.RawMessage, error) {
	if seed < 0 || seed >= 1<<32 {
		return nil, cli.Usagef("--seed %d: want 0 to 2^32-1", seed)
	}
	raw, err := []byte("{}"), error(nil)
	switch file {
	case "":
	case "-":
		raw, err = io.ReadAll(stdin)
	default:
		raw, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	data := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &data); err != nil {
		return nil, cli.Usagef("--data %s: not a JSON object: %v", file, err)
	}
	for _, key := range []string{"params", "correct_answers", "options"} {
		if _, ok := data[key]; !ok {
			data[key] = json.RawMessage("{}")
		}
	}
	if _, ok := data["variant_seed"]; !ok {
		data["variant_seed"], _ = json.Marshal(seed)
	}
	return json.Marshal(data)
}

// show prints a result for people: what was asked for on stdout, the rest on stderr.
func show(env *cli.Env, res *jobs.Result, asJSON bool) error {
	c := res.Calls[0]
	if asJSON {
		if err := json.NewEncoder(env.Stdout).Encode(res); err != nil {
			return err
		}
	} else {
		if c.Output != "" {
			fmt.Fprintln(env.Stderr, strings.TrimRight(c.Output, "\n"))
		}
		switch {
		case c.Outcome != jobs.OK:
			fmt.Fprintf(env.Stderr, "%s%s: %s\n", c.Traceback, c.Outcome, c.Message)
		case c.HTML != nil:
			fmt.Fprintln(env.Stdout, *c.HTML)
		case c.File != nil:
			if _, err := env.Stdout.Write(c.File); err != nil {
				return err
			}
		default:
			e := json.NewEncoder(env.Stdout)
			e.SetIndent("", "  ")
			if err := e.Encode(c.Data); err != nil {
				return err
			}
		}
	}
	if c.Outcome != jobs.OK {
		return cli.Silent(cli.ExitFailed)
	}
	return nil
}
