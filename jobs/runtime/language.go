package runtime

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsimple"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

//go:embed languages/*.hcl
var languageFiles embed.FS

// Language is how programs of one language are checked, built and run. It is
// data: one file in languages/. In commands, {main} stands for the main file,
// {stem} for it without its suffix, and, as whole words, {sources} for every
// file with a suffix of the language, {args} for the arguments of the run and
// {switches.TOOL} for the caller's switches for a tool.
//
// Ahead is what a worker does once for all programs, without any of theirs: the
// directory that its command fills is what they see, read-only, in the variable
// that Ahead is named by.
type Language struct {
	Name     string   `hcl:"name,label"`
	Aliases  []string `hcl:"aliases,optional"`
	Needs    []string `hcl:"needs"`    // programs that must be installed
	Install  string   `hcl:"install"`  // what to do when they are not
	Version  []string `hcl:"version"`  // a command that prints it; in an environment, it
	Suffixes []string `hcl:"suffixes"` // of its sources, with their dots
	Env      []string `hcl:"env,optional"`
	Files    []File   `hcl:"file,block"`
	Ahead    *Step    `hcl:"ahead,block"`
	Steps    []Step   `hcl:"step,block"`
	Modes    []Mode   `hcl:"mode,block"`

	// In is the environment that programs see in place of what is installed here, unless their
	// request names another one: NAME@DIGEST, or NAME for the newest version at each run.
	In string `hcl:"environment,optional"`

	version string
}

// File lies beside the caller's files, unless one of those has its name.
type File struct {
	Name     string `hcl:"name,label"`
	Contents string `hcl:"contents"`
}

// Step is one command in a sandbox of its own. Limits that it names replace the
// defaults of the request.
type Step struct {
	Name      string   `hcl:"name,label"`
	Command   []string `hcl:"command"`
	Needs     []string `hcl:"needs,optional"`
	Install   string   `hcl:"install,optional"`
	Seconds   int      `hcl:"seconds,optional"`
	MemoryMiB int64    `hcl:"memory_mib,optional"`
	FilesMiB  int64    `hcl:"files_mib,optional"`
	Processes int      `hcl:"processes,optional"`
}

// Mode is what a caller asks for: steps in order, as long as each ends with 0.
type Mode struct {
	Name  string   `hcl:"name,label"`
	Steps []string `hcl:"steps"`
}

// Languages are the ones that this machine can serve, and the others.
type Languages struct {
	only    string // the one to read; empty for all
	here    []*Language
	missing []*Language
}

// LoadLanguages reads our descriptions and those *.hcl that lie in more, and asks
// the installed languages for their versions.
func LoadLanguages(more ...fs.FS) (*Languages, error) {
	return load("", more...)
}

// LoadLanguage reads only the language of this name, for who runs no other: asking
// every language for its version takes longer than most programs.
func LoadLanguage(name string, more ...fs.FS) (*Languages, error) { return load(name, more...) }

func load(only string, more ...fs.FS) (*Languages, error) {
	ours, err := fs.Sub(languageFiles, "languages")
	if err != nil {
		return nil, err
	}
	ls := &Languages{only: only}
	for _, dir := range append([]fs.FS{ours}, more...) {
		if err := ls.load(dir); err != nil {
			return nil, err
		}
	}
	return ls, nil
}

func (ls *Languages) load(dir fs.FS) error {
	names, err := fs.Glob(dir, "*.hcl")
	if err != nil {
		return err
	}
	for _, name := range names {
		b, err := fs.ReadFile(dir, name)
		if err != nil {
			return fmt.Errorf("read runtime: %w", err)
		}
		l, err := ParseLanguage(name, b)
		if err != nil {
			return err
		}
		if ls.only != "" && l.Name != ls.only {
			continue
		}
		if l.In != "" { // asked for its version it would have to be here already
			l.version = l.Version[0]
			ls.here = append(ls.here, l)
			continue
		}
		if !installed(l.Needs) {
			ls.missing = append(ls.missing, l)
			continue
		}
		out, err := exec.Command(l.Version[0], l.Version[1:]...).CombinedOutput()
		if l.version = versionNumber.FindString(string(out)); err != nil || l.version == "" {
			return fmt.Errorf("ask runtime %s for its version: %w: %q", l.Name, err, out)
		}
		ls.here = append(ls.here, l)
	}
	return nil
}

var (
	versionNumber   = regexp.MustCompile(`\d+(\.\d+)*`)
	environmentName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,123}(@[0-9a-f]{64})?$`)
)

func installed(programs []string) bool {
	return !slices.ContainsFunc(programs, func(p string) bool {
		_, err := os.Stat(p)
		return err != nil
	})
}

// ParseLanguage reads one description and refuses what could not work.
func ParseLanguage(name string, src []byte) (*Language, error) {
	var f struct {
		Runtime Language `hcl:"runtime,block"`
	}
	if err := hclsimple.Decode(path.Base(name), src, nil, &f); err != nil {
		return nil, fmt.Errorf("read runtime: %w", err)
	}
	l := &f.Runtime
	bad := func(format string, args ...any) (*Language, error) {
		return nil, fmt.Errorf("runtime %s in %s: %s", l.Name, name, fmt.Sprintf(format, args...))
	}
	if len(l.Needs) == 0 || len(l.Version) == 0 || len(l.Suffixes) == 0 {
		return bad("needs, version and suffixes must not be empty")
	}
	if l.In != "" {
		if l.Ahead != nil || !environmentName.MatchString(l.In) || len(l.Version) != 1 || versionNumber.FindString(l.Version[0]) != l.Version[0] {
			return bad("environment is NAME or NAME@DIGEST, version then the one number that it has, and there is no ahead")
		}
		for i := range l.Steps { // none of which is a question of this machine
			l.Needs, l.Steps[i].Needs = append(l.Needs, l.Steps[i].Needs...), nil
		}
	}
	all := l.Steps
	if l.Ahead != nil {
		all = append(slices.Clone(all), *l.Ahead)
	}
	for _, s := range all {
		if len(s.Command) == 0 || !strings.HasPrefix(s.Command[0], "/") {
			return bad("step %s: the command must begin with an absolute path", s.Name)
		}
	}
	for _, m := range l.Modes {
		if len(m.Steps) == 0 {
			return bad("mode %s has no steps", m.Name)
		}
		for _, s := range m.Steps {
			if l.step(s) == nil {
				return bad("mode %s: there is no step %q", m.Name, s)
			}
		}
	}
	if l.Mode("run") == nil {
		return bad("there is no mode run")
	}
	return l, nil
}

func (l *Language) step(name string) *Step {
	for i := range l.Steps {
		if l.Steps[i].Name == name {
			return &l.Steps[i]
		}
	}
	return nil
}

// Mode returns the steps of a mode, or nil when there is no such mode.
func (l *Language) Mode(name string) (steps []*Step) {
	for _, m := range l.Modes {
		if m.Name == name {
			for _, s := range m.Steps {
				steps = append(steps, l.step(s))
			}
		}
	}
	return steps
}

// String is name@version.
func (l *Language) String() string { return l.Name + "@" + l.version }

// Describe lists what is here, for a worker's status.
func (ls *Languages) Describe() (all []jobs.Runtime) {
	for _, l := range ls.here {
		r := jobs.Runtime{Name: l.Name, Version: l.version, Aliases: l.Aliases, Environment: cmp.Or(l.In, strings.Join(l.Needs, " "))}
		for _, m := range l.Modes {
			if !slices.ContainsFunc(l.Mode(m.Name), func(s *Step) bool { return !installed(s.Needs) }) {
				r.Modes = append(r.Modes, m.Name)
			}
		}
		all = append(all, r)
	}
	return all
}

// Offer is Describe with the Python of courses in the place of its own python:
// version and digest, on which caches key, are those of Language.Describe.
func (ls *Languages) Offer(version, digest string) []jobs.Runtime {
	all := []jobs.Runtime{{Name: "python", Version: version, Digest: digest}}
	for _, r := range ls.Describe() {
		if r.Name == "python" {
			all[0].Aliases, all[0].Modes, all[0].Environment = append(r.Aliases, r.Name+"@"+r.Version), r.Modes, r.Environment
			continue
		}
		all = append(all, r)
	}
	return all
}

// Find returns the language that ask (name, alias, or either with @version)
// means, or, when ask is empty, the one that the files' suffixes tell. The error
// is a *jobs.Error.
func (ls *Languages) Find(ask string, files []jobs.ProgramFile) (*Language, error) {
	name, version, _ := strings.Cut(ask, "@")
	for _, l := range ls.here {
		switch {
		case name == "" && slices.ContainsFunc(files, func(f jobs.ProgramFile) bool { return slices.Contains(l.Suffixes, path.Ext(f.Basename)) }):
			return l, nil
		case name != "" && (l.Name == name || slices.Contains(l.Aliases, name)):
			if version == "" || version == l.version || strings.HasPrefix(l.version, version+".") {
				return l, nil
			}
			return nil, &jobs.Error{Code: "runtime_missing", Message: fmt.Sprintf("runtime %s is here in version %s, not %s", l.Name, l.version, version)}
		}
	}
	for _, l := range ls.missing {
		if l.Name == name || slices.Contains(l.Aliases, name) {
			return nil, &jobs.Error{Code: "runtime_missing", Message: fmt.Sprintf("runtime %s is not installed on this worker: %s", l.Name, l.Install)}
		}
	}
	return nil, &jobs.Error{Code: "runtime_missing", Message: fmt.Sprintf("there is no runtime %q", ask)}
}

// Expand fills a command's placeholders in.
func (l *Language) Expand(command []string, main string, args []string, p *jobs.Program) (argv []string) {
	fill := strings.NewReplacer("{main}", main, "{stem}", strings.TrimSuffix(main, path.Ext(main)))
	for _, word := range command {
		tool, isSwitch := strings.CutPrefix(strings.TrimSuffix(word, "}"), "{switches.")
		switch {
		case word == "{sources}":
			argv = append(argv, l.Sources(p.Files)...)
		case word == "{args}":
			argv = append(argv, args...)
		case isSwitch:
			argv = append(argv, p.Switches[tool]...)
		default:
			argv = append(argv, fill.Replace(word))
		}
	}
	return argv
}

// Fill fills the placeholders of a file of the language's own in: {main}, and
// {switches.TOOL}, which stands for the caller's switches as the rest of a list
// of strings in a project file.
func (l *Language) Fill(contents, main string, p *jobs.Program) string {
	return placeholder.ReplaceAllStringFunc(contents, func(word string) string {
		quote := func(s string) string { return strings.ReplaceAll(s, `"`, `""`) }
		tool, isSwitch := strings.CutPrefix(strings.Trim(word, "{}"), "switches.")
		if !isSwitch {
			return quote(main)
		}
		var b strings.Builder
		for _, s := range p.Switches[tool] {
			b.WriteString(`, "` + quote(s) + `"`)
		}
		return b.String()
	})
}

var placeholder = regexp.MustCompile(`\{(main|switches\.\w+)\}`)

// Sources are the names of the language's own files, in order; each begins with
// "./" so that none reads as a switch.
func (l *Language) Sources(files []jobs.ProgramFile) (names []string) {
	for _, f := range files {
		if slices.Contains(l.Suffixes, path.Ext(f.Basename)) {
			names = append(names, "./"+f.Basename)
		}
	}
	return names
}

// Check returns a *jobs.Error where the step needs what is not installed.
func (s *Step) Check() error {
	if !installed(s.Needs) {
		return &jobs.Error{Code: "runtime_missing", Message: fmt.Sprintf("%s is not available on this worker: %s", s.Name, s.Install)}
	}
	return nil
}

// Root is what every program sees, and Environment what it gets beside its own.
func (l *Language) Root() sandbox.Root {
	r := sandbox.HostRoot()
	r.Dirs = append(r.Dirs, "/work")
	return r
}

// Environment is the whole environment of a step. ahead is where it finds what was
// made ahead, or is to make it; "" for nowhere.
func (l *Language) Environment(ahead string) []string {
	env := slices.Concat(environment, l.Env)
	if ahead != "" { // programs take the first of two values
		env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, l.Ahead.Name+"=") })
		env = append(env, l.Ahead.Name+"="+ahead)
	}
	return env
}

// EnvironmentIn is that of a step in an image that sets variables.
func (l *Language) EnvironmentIn(image []string) []string {
	return slices.Concat(Variables(image), l.Env)
}
