package pool

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// Bounds of a program's request.
const (
	maxProgramFiles = 64
	maxProgramCases = 100
)

// run is one program on its way through its steps.
type run struct {
	pool    *Pool
	lang    *runtime.Language
	program *jobs.Program
	main    string
	root    sandbox.Root
	env     []string // whole
	scratch *sandbox.Scratch
	kept    *sandbox.Scratch // made ahead; nil for none
	watch   Watcher          // never nil
}

// Watcher is told of a program's run as it goes on, one call at a time. Neither
// method keeps its slices.
type Watcher interface {
	// Begin says that a step's command starts; ref names the case it is for.
	Begin(step, ref string, argv []string)
	// Output is a piece of what the step printed, within its limit.
	Output(stderr bool, piece []byte)
}

type nobody struct{}

func (nobody) Begin(string, string, []string) {}
func (nobody) Output(bool, []byte)            {}

// Run builds and runs a program, each step in a fresh sandbox; what a step leaves
// in its working directory the next one finds. A step that fails ends it. The
// error is a *jobs.Error where the request cannot be run, and otherwise means
// that we failed.
func (p *Pool) Run(ctx context.Context, prog *jobs.Program) (*jobs.ProgramResult, error) {
	return p.RunWatched(ctx, prog, nobody{})
}

// RunWatched is Run with somebody who follows it.
func (p *Pool) RunWatched(ctx context.Context, prog *jobs.Program, watch Watcher) (*jobs.ProgramResult, error) {
	if p.cfg.Languages == nil {
		return nil, &jobs.Error{Code: "runtime_missing", Message: "this worker runs no programs"}
	}
	lang, err := p.cfg.Languages.Find(prog.Runtime, prog.Files)
	if err != nil {
		return nil, err
	}
	mode := prog.Mode
	if mode == "" || mode == "submit" {
		mode = "run"
	}
	steps := lang.Mode(mode)
	if steps == nil {
		return nil, &jobs.Error{Code: "mode_missing", Message: fmt.Sprintf("runtime %s has no mode %q", lang.Name, prog.Mode)}
	}
	for _, s := range steps {
		if err := s.Check(); err != nil {
			return nil, err
		}
	}
	files, err := programFiles(lang, prog)
	if err != nil {
		return nil, err
	}
	r := &run{pool: p, lang: lang, program: prog, main: mainFile(lang, prog), watch: watch}
	own, err := programEnv(prog.Env)
	if err != nil {
		return nil, err
	}
	ctx, leave, err := p.life.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if r.root, r.env, err = p.rootOf(ctx, lang, prog.Environment); err != nil {
		return nil, err
	}
	if prog.Environment == "" && lang.In == "" { // what was made ahead is of this machine's compiler
		if r.kept = p.aheads.of(lang); r.kept != nil {
			r.env = lang.Environment(sandbox.KeptDir)
		}
		defer p.aheads.want(lang)
	}
	r.env = append(r.env, own...)
	free, err := p.place(ctx)
	if err != nil {
		return nil, err
	}
	defer free()
	size := p.limits(prog.Limits).Files
	for _, s := range steps {
		size = max(size, s.FilesMiB<<20)
	}
	if r.scratch, err = p.cfg.Host.NewScratch(size, files); err != nil {
		return nil, err
	}
	defer r.scratch.Close()
	return r.steps(ctx, steps)
}

func (r *run) steps(ctx context.Context, steps []*runtime.Step) (*jobs.ProgramResult, error) {
	res := &jobs.ProgramResult{Outcome: jobs.OK, Runtime: r.lang.String(), ID: r.program.ID}
	for i, s := range steps {
		last := i == len(steps)-1
		if last && len(r.program.Cases) > 0 && s.Name == "run" {
			return res, r.cases(ctx, s, res)
		}
		outcome, err := r.step(ctx, s, "", r.program.Stdin, r.program.Args, res)
		if err != nil {
			return nil, err
		}
		switch {
		case outcome != jobs.OK:
			res.Outcome = outcome
			return res, nil
		case res.ExitCode != 0 && s.Name == "build":
			res.Outcome = jobs.BuildFailed
			return res, nil
		case res.ExitCode != 0:
			return res, nil
		}
	}
	return res, nil
}

func (r *run) cases(ctx context.Context, s *runtime.Step, res *jobs.ProgramResult) error {
	for i, c := range r.program.Cases {
		if c.Name == "" {
			c.Name = fmt.Sprint(i)
		}
		outcome, err := r.step(ctx, s, c.Name, c.Stdin, c.Args, res)
		if err != nil {
			return err
		}
		got := jobs.CaseResult{Name: c.Name, Outcome: outcome, ExitCode: res.ExitCode, Stdout: res.Stdout}
		got.Passed = outcome == jobs.OK && res.ExitCode == 0 && sameText(res.Stdout, c.Expect)
		res.Cases = append(res.Cases, got)
	}
	return nil
}

// sameText ignores what nobody sees: spaces at the ends of lines, empty lines at the end.
func sameText(a, b string) bool {
	norm := func(s string) string {
		lines := strings.Split(s, "\n")
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " \t\r")
		}
		return strings.TrimRight(strings.Join(lines, "\n"), "\n")
	}
	return norm(a) == norm(b)
}

// asChild runs a program as a child of the sandbox's init: as init itself it
// would be deaf to its own signals, and abort() would look like something else.
// An exit code over 128 is how a shell tells of a signal.
var asChild = []string{"/bin/sh", "-c", `"$@"; exit $?`, "run"}

// step runs one command and appends what became of it.
func (r *run) step(ctx context.Context, s *runtime.Step, ref, stdin string, args []string, res *jobs.ProgramResult) (jobs.Outcome, error) {
	limits := r.limits(s)
	argv := r.lang.Expand(s.Command, r.main, args, r.program)
	r.watch.Begin(s.Name, ref, argv)
	box, err := r.pool.cfg.Host.Exec(ctx, sandbox.Spec{
		Limits: limits, Scratch: r.scratch, Kept: r.kept, Stdin: []byte(stdin), Output: r.watch.Output,
	}, sandbox.Command{
		Root: r.root, Dir: "/work", Env: r.env,
		Argv: append(slices.Clone(asChild), argv...),
	})
	if err != nil {
		return "", err
	}
	t := box.Wait(ctx, limits.Wall)
	used := box.Close()
	if err := context.Cause(ctx); err != nil {
		return "", fmt.Errorf("the run was given up: %w", err)
	}
	st := jobs.Step{Name: s.Name, Usage: used, Truncated: t.Outcome == jobs.OutputTooLarge}
	var outcome jobs.Outcome
	outcome, st.ExitCode, st.Signal = fate(t, used, limits)
	st.Stdout, st.Stderr = string(t.Stdout), string(t.Stderr)
	if !utf8.Valid(t.Stdout) || !utf8.Valid(t.Stderr) {
		st.Encoding = "base64"
		st.Stdout, st.Stderr = base64.StdEncoding.EncodeToString(t.Stdout), base64.StdEncoding.EncodeToString(t.Stderr)
	}
	res.Steps = append(res.Steps, st)
	res.ExitCode, res.Stdout, res.Stderr = st.ExitCode, st.Stdout, st.Stderr
	return outcome, nil
}

// fate reads the end of a program: OK is an end of its own, with an exit code and
// perhaps the signal behind it; without one the code is -1.
func fate(t sandbox.Turn, used jobs.Usage, limits jobs.Limits) (o jobs.Outcome, code int, signal string) {
	if t.Outcome != jobs.Killed || !t.Exited || !t.Status.Exited() {
		if t.Exited && t.Status.Signaled() {
			signal = unix.SignalName(t.Status.Signal())
		}
		return t.Outcome, -1, signal
	}
	code = t.Status.ExitStatus()
	if n := code - 128; n > 0 && n < 65 {
		signal = unix.SignalName(unix.Signal(n))
	}
	// The kernel ends the program itself over CPU time, and the shell lives to
	// tell. It counts in timer ticks, which differ from what it reports.
	if signal == "SIGKILL" && used.CPU >= limits.CPU/2 {
		return jobs.Timeout, -1, signal
	}
	return jobs.OK, code, signal
}

// limits: what a step names for itself is the operator's word, and holds where
// the caller asks for nothing less.
func (r *run) limits(s *runtime.Step) jobs.Limits {
	ask := r.program.Limits
	l := r.pool.limits(ask)
	all := withStep(l, s)
	if ask.Wall == 0 {
		l.Wall = all.Wall
	}
	if ask.CPU == 0 {
		l.CPU = all.CPU
	}
	if ask.Memory == 0 || s.Name == "build" {
		l.Memory = all.Memory
	}
	if ask.Processes == 0 || s.Name == "build" {
		l.Processes = all.Processes
	}
	if ask.Files == 0 {
		l.Files = all.Files
	}
	l.Processes++ // the sandbox's init
	return l
}

// withStep is l with room for all that a step names for itself.
func withStep(l jobs.Limits, s *runtime.Step) jobs.Limits {
	l.Wall = max(l.Wall, time.Duration(s.Seconds)*time.Second)
	l.CPU = max(l.CPU, 2*time.Duration(s.Seconds)*time.Second)
	l.Memory = max(l.Memory, s.MemoryMiB<<20)
	l.Processes = max(l.Processes, s.Processes)
	l.Files = max(l.Files, s.FilesMiB<<20)
	return l
}

// mainFile is the file to start with: the caller's word, or the source called
// main (Main in Java), or the first one.
func mainFile(l *runtime.Language, p *jobs.Program) string {
	if p.Main != "" {
		return p.Main
	}
	s := l.Sources(p.Files)
	for _, like := range []func(name string) bool{
		func(name string) bool { return strings.EqualFold(strings.TrimSuffix(name, path.Ext(name)), "./main") },
		func(name string) bool { return path.Ext(name) == l.Suffixes[0] }, // no specification, no header
		func(string) bool { return true },
	} {
		if i := slices.IndexFunc(s, like); i >= 0 {
			return strings.TrimPrefix(s[i], "./")
		}
	}
	return p.Files[0].Basename
}

// programFiles decodes the caller's files and adds the runtime's own.
func programFiles(l *runtime.Language, p *jobs.Program) (map[string][]byte, error) {
	bad := func(format string, args ...any) (map[string][]byte, error) {
		return nil, &jobs.Error{Code: "bad_request", Message: fmt.Sprintf(format, args...)}
	}
	if len(p.Files) == 0 || len(p.Files) > maxProgramFiles || len(p.Cases) > maxProgramCases {
		return bad("a program has 1 to %d files and at most %d cases", maxProgramFiles, maxProgramCases)
	}
	files := map[string][]byte{}
	seen := map[string]bool{}
	for _, f := range p.Files {
		if f.Basename != path.Base(f.Basename) || f.Basename == "." || f.Basename == ".." || f.Basename == "/" ||
			len(f.Basename) > 200 || !utf8.ValidString(f.Basename) || strings.ContainsAny(f.Basename, "\x00\n\"") || f.Basename[0] == '-' {
			return bad("%q is no plain file name", f.Basename)
		}
		if seen[f.Basename] {
			return bad("there are two files called %q", f.Basename)
		}
		seen[f.Basename] = true
		content := []byte(f.Contents)
		switch f.Encoding {
		case "", "utf8":
		case "base64":
			var err error
			if content, err = base64.StdEncoding.DecodeString(f.Contents); err != nil {
				return bad("file %s: %v", f.Basename, err)
			}
		default:
			return bad("file %s has encoding %q; use utf8 or base64", f.Basename, f.Encoding)
		}
		files[f.Basename] = content
	}
	if p.Main != "" && !seen[p.Main] {
		return bad("main is %q, and there is no such file", p.Main)
	}
	for _, words := range append(slices.Collect(maps.Values(p.Switches)), p.Args) {
		if slices.ContainsFunc(words, func(w string) bool { return strings.ContainsRune(w, 0) }) {
			return bad("a NUL character in an argument")
		}
	}
	for _, words := range p.Switches {
		if slices.ContainsFunc(words, func(w string) bool { return strings.ContainsFunc(w, unicode.IsControl) }) {
			return bad("a control character in a switch")
		}
	}
	for _, f := range l.Files {
		if !seen[f.Name] {
			files[f.Name] = []byte(l.Fill(f.Contents, mainFile(l, p), p))
		}
	}
	return files, nil
}

func programEnv(env map[string]string) (out []string, err error) {
	for _, k := range slices.Sorted(maps.Keys(env)) {
		if k == "" || strings.ContainsAny(k, "=\x00") || strings.ContainsRune(env[k], 0) {
			return nil, errors.Join(&jobs.Error{Code: "bad_request", Message: fmt.Sprintf("%q cannot be set in the environment", k)})
		}
		out = append(out, k+"="+env[k])
	}
	return out, nil
}

// Project returns a program's files among those that its runtime lays beside
// them, in the order of their names. The error is a *jobs.Error.
func (p *Pool) Project(prog *jobs.Program) ([]jobs.ProgramFile, error) {
	if p.cfg.Languages == nil {
		return nil, &jobs.Error{Code: "runtime_missing", Message: "this worker runs no programs"}
	}
	lang, err := p.cfg.Languages.Find(prog.Runtime, prog.Files)
	if err != nil {
		return nil, err
	}
	files, err := programFiles(lang, prog)
	if err != nil {
		return nil, err
	}
	var out []jobs.ProgramFile
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := jobs.ProgramFile{Basename: name, Contents: string(files[name])}
		if !utf8.Valid(files[name]) {
			f.Contents, f.Encoding = base64.StdEncoding.EncodeToString(files[name]), "base64"
		}
		out = append(out, f)
	}
	return out, nil
}
