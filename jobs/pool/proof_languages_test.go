package pool

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/runtime"
)

// installed asks the languages for their versions once: that takes seconds.
var installed = sync.OnceValues(func() (*runtime.Languages, error) { return runtime.LoadLanguages() })

// quick are limits under which a program's every end comes soon; its build has
// those of its runtime.
func quick(t *testing.T) *Pool {
	t.Helper()
	ls, err := installed()
	require.NoError(t, err)
	return newPool(t, tree(t, map[string]string{"infoCourse.json": "{}"}), func(c *Config) {
		c.Languages = ls
		c.Default = jobs.Limits{Wall: 4 * time.Second, CPU: 2 * time.Second, Memory: 192 << 20, Output: 64 << 10}
	})
}

// Every language reads its input and arguments from several files, ends with a
// code or a signal, meets each limit, and says what it used; each by its one file
// of data.
func TestEveryLanguage(t *testing.T) {
	p := quick(t)
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
			defer cancel()
			cases := []jobs.ProgramCase{
				{Name: "echo", Args: []string{"echo", "; -x \"y\" $(id)"}, Stdin: "in\n", Expect: "in|; -x \"y\" $(id)"},
				{Name: "code", Args: []string{"code"}},
				{Name: "flood", Args: []string{"flood"}},
				{Name: "sleep", Args: []string{"sleep"}},
				{Name: "spin", Args: []string{"spin"}},
				{Name: "memory", Args: []string{"memory"}},
			}
			if l.crash != "" {
				cases = append(cases, jobs.ProgramCase{Name: "crash", Args: []string{"crash"}})
			}
			res, err := p.Run(ctx, &jobs.Program{Runtime: l.name, Files: l.files, Cases: cases})
			if err != nil && missingRuntime(t, err) {
				return
			}
			require.NoError(t, err)
			if l.name == "go" {
				compilesOnce(t, p)
			}
			refuses(t, p, l)
			if l.builds {
				require.NotEmpty(t, res.Steps)
				require.Equal(t, "build", res.Steps[0].Name)
				require.Zero(t, res.Steps[0].ExitCode, "%+v", res.Steps[0])
				res.Steps = res.Steps[1:]
			}
			require.Len(t, res.Steps, len(cases))
			for i, s := range res.Steps {
				name, c := cases[i].Name, res.Cases[i]
				require.Equal(t, "run", s.Name)
				require.NotContains(t, s.Stdout, "survived")
				require.True(t, strings.HasPrefix(res.Runtime, l.name+"@"))
				require.Positive(t, s.Usage.Wall, "%s %+v", name, s)
				require.Positive(t, s.Usage.CPU, "%s %+v", name, s)
				require.Positive(t, s.Usage.Memory, "%s %+v", name, s)
				require.LessOrEqual(t, len(s.Stdout), 64<<10)
				switch name {
				case "echo":
					require.True(t, c.Passed, "%+v %+v", c, s)
				case "code":
					require.Equal(t, jobs.OK, c.Outcome, "%+v", s)
					require.Equal(t, 7, s.ExitCode)
				case "crash":
					require.Equal(t, l.crash, s.Signal, "%+v", s)
				case "flood":
					require.Equal(t, jobs.OutputTooLarge, c.Outcome, "%+v", c.ExitCode)
					require.True(t, s.Truncated)
				case "sleep":
					require.Equal(t, jobs.Timeout, c.Outcome, "%+v", s)
					require.GreaterOrEqual(t, s.Usage.Wall, 4*time.Second)
				case "spin":
					require.Equal(t, jobs.Timeout, c.Outcome, "%+v", s)
				case "memory": // the kernel ends it, or the language's own bound does
					require.True(t, c.Outcome == jobs.OutOfMemory || c.Outcome == jobs.OK && s.ExitCode != 0, "%+v", s)
				}
			}
		})
	}
}

// compilesOnce: after the first program, what programs import is there already. What
// few do is compiled for each of them, although nothing can be added to what is there.
func compilesOnce(t *testing.T, p *Pool) {
	l, err := p.cfg.Languages.Find("go", nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		p.aheads.want(l) // the first program may have ended while slots were few
		return p.aheads.of(l) != nil
	}, 6*time.Minute, 10*time.Millisecond) // longer than the language gives it
	for range 2 {
		res, err := p.Run(context.Background(), &jobs.Program{
			Runtime: "go", Switches: map[string][]string{"Compiler": {"-v"}}, // names what it compiles
			Files: []jobs.ProgramFile{file("main.go", "package main\nimport (\"container/ring\"; \"fmt\")\nfunc main() { fmt.Print(ring.New(3).Len()) }\n")},
		})
		require.NoError(t, err)
		require.Equal(t, "3", res.Stdout, "%+v", res)
		require.Equal(t, "container/ring\ncommand-line-arguments\n", res.Steps[0].Stderr)
	}
}

// A program that does not compile is refused by its build, where there is one, and
// is told why.
func refuses(t *testing.T, p *Pool, l language) {
	for _, mode := range []string{"compile", "run"} {
		res, err := p.Run(context.Background(), &jobs.Program{Runtime: l.name, Mode: mode, Files: []jobs.ProgramFile{l.broken}})
		require.NoError(t, err)
		want := jobs.OK
		if l.builds {
			want = jobs.BuildFailed
		}
		require.Equal(t, want, res.Outcome, "%+v", res)
		require.NotZero(t, res.ExitCode, "%+v", res)
		require.Contains(t, res.Stdout+res.Stderr, strings.TrimSuffix(l.broken.Basename, ".java"), "names the file")
	}
}

// The languages of this file are those that there are.
func TestNoLanguageIsForgotten(t *testing.T) {
	entries, err := os.ReadDir("../runtime/languages")
	require.NoError(t, err)
	require.Len(t, entries, len(languages))
}

// What cannot be proven for want of the prover is said so.
func TestProvingNeedsAProver(t *testing.T) {
	p := quick(t)
	files := []jobs.ProgramFile{file("main.adb", "procedure Main with SPARK_Mode is begin null; end Main;\n")}
	res, err := p.Run(context.Background(), &jobs.Program{Runtime: "ada", Mode: "prove", Files: files})
	if _, missing := os.Stat("/usr/bin/gnatprove"); missing == nil {
		require.NoError(t, err)
		require.Equal(t, jobs.OK, res.Outcome, "%+v", res)
		return
	}
	var je *jobs.Error
	require.True(t, errors.As(err, &je), "%v", err)
	require.Equal(t, "runtime_missing", je.Code)
	require.Contains(t, je.Message, "gnatprove")
}

// What a language makes ahead every later program sees, and none can change.
func TestWhatIsMadeAheadIsReadOnly(t *testing.T) {
	ls, err := runtime.LoadLanguages(fstest.MapFS{"peek.hcl": {Data: []byte(`
runtime "peek" {
  needs    = ["/bin/sh"]
  version  = ["/bin/sh", "-c", "echo 1.0"]
  suffixes = [".peek"]
  install  = "it is always there"
  ahead "MADE" {
    command   = ["/bin/sh", "-c", "umask 077; mkdir $MADE/d; echo made > $MADE/d/x; ls -a $MADE > $MADE/seen"]
    files_mib = 1
  }
  step "run" { command = ["/bin/sh", "{main}"] }
  mode "run" { steps = ["run"] }
}`)}})
	require.NoError(t, err)
	p := newPool(t, tree(t, map[string]string{"infoCourse.json": "{}"}), func(c *Config) { c.Languages = ls })
	peek := func() string {
		res, err := p.Run(context.Background(), &jobs.Program{Files: []jobs.ProgramFile{file("secret.peek", `
[ "$MADE" ] || exit
exec 2>/dev/null
cat $MADE/d/x $MADE/seen
for f in x d/x d/y; do echo changed > $MADE/$f && echo changed; done
rm -rf $MADE/d || chmod 777 $MADE/d || mv $MADE/d $MADE/e || chown $(id -u) $MADE/d/x || touch $MADE/d/x || ln $MADE/d/x /work/x || echo refused
mount -o remount,rw $MADE || umount $MADE || echo refused
[ -x $MADE/d/x ] || echo inert
`)}})
		require.NoError(t, err)
		require.Equal(t, jobs.OK, res.Outcome, "%+v", res)
		return res.Stdout
	}
	require.Empty(t, peek(), "there is nothing before the first program has run")
	l, err := ls.Find("peek", nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return p.aheads.of(l) != nil }, 30*time.Second, 5*time.Millisecond)
	for range 2 { // the second one sees what the first one saw
		require.Equal(t, "made\n.\n..\nd\nseen\nrefused\nrefused\ninert\n", peek(), "and no file of a program's was there")
	}
}

// A new language is one file, here one that lies elsewhere.
func TestALanguageIsOneFile(t *testing.T) {
	ls, err := runtime.LoadLanguages(fstest.MapFS{"sed.hcl": {Data: []byte(`
runtime "sed" {
  needs    = ["/usr/bin/sed"]
  version  = ["/usr/bin/sed", "--version"]
  suffixes = [".sed"]
  install  = "apt install sed"
  step "run" { command = ["/usr/bin/sed", "-f", "{main}", "{args}"] }
  mode "run" { steps = ["run"] }
}`)}})
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(ls.Describe(), func(r jobs.Runtime) bool { return r.Name == "sed" }))
	p := newPool(t, tree(t, map[string]string{"infoCourse.json": "{}"}), func(c *Config) { c.Languages, c.Spares = ls, -1 })
	res, err := p.Run(context.Background(), &jobs.Program{Files: []jobs.ProgramFile{file("a.sed", "s/a/b/g\n")}, Stdin: "banana\n"})
	require.NoError(t, err)
	require.Equal(t, "bbnbnb\n", res.Stdout, "%+v", res)
}
