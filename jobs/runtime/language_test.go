package runtime

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

func TestLanguagesLoad(t *testing.T) {
	ls, err := LoadLanguages()
	require.NoError(t, err)
	require.Len(t, append(ls.here, ls.missing...), 10)
	for _, r := range ls.Describe() {
		require.Regexp(t, `^\d`, r.Version, r.Name)
		require.Contains(t, r.Modes, "run")
	}
	py, err := ls.Find("python", nil)
	require.NoError(t, err)
	same, err := ls.Find("python@3", nil)
	require.NoError(t, err)
	require.Equal(t, py, same)
	bySuffix, err := ls.Find("", []jobs.ProgramFile{{Basename: "a.py"}})
	require.NoError(t, err)
	require.Equal(t, py, bySuffix)
}

func TestParseLanguageRefuses(t *testing.T) {
	const good = `runtime "x" {
  needs = ["/x"]
  version = ["/x"]
  suffixes = [".x"]
  install = "get x"
  step "run" { command = ["/x", "{main}"] }
  mode "run" { steps = ["run"] }
}`
	_, err := ParseLanguage("x.hcl", []byte(good))
	require.NoError(t, err)
	in := strings.NewReplacer("needs", "environment = \"node-22\"\n  needs", `["/x"]
  suff`, `["22.1"]
  suff`).Replace(good)
	l, err := ParseLanguage("x.hcl", []byte(in))
	require.NoError(t, err)
	require.Equal(t, "node-22", l.In)
	for name, src := range map[string]string{
		"no environment":        strings.Replace(good, "needs", "environment = \"../x\"\n  needs", 1),
		"version is no command": strings.Replace(good, "needs", "environment = \"x\"\n  needs", 1),
		"no mode": `runtime "x" {
  needs = ["/x"]
  version = ["/x"]
  suffixes = [".x"]
  install = ""
}`,
		"relative": `runtime "x" {
  needs = ["/x"]
  version = ["/x"]
  suffixes = [".x"]
  install = ""
  step "run" { command = ["x"] }
  mode "run" { steps = ["run"] }
}`,
		"unknown step": `runtime "x" {
  needs = ["/x"]
  version = ["/x"]
  suffixes = [".x"]
  install = ""
  mode "run" { steps = ["run"] }
}`,
		"not hcl": "{", "empty": "",
	} {
		_, err := ParseLanguage("x.hcl", []byte(src))
		require.Error(t, err, name)
	}
}

func TestExpand(t *testing.T) {
	l := &Language{Suffixes: []string{".c"}}
	p := &jobs.Program{
		Files:    []jobs.ProgramFile{{Basename: "a.c"}, {Basename: "b.h"}, {Basename: "c.c"}},
		Switches: map[string][]string{"Compiler": {"-g", "$(reboot)"}},
	}
	got := l.Expand([]string{"cc", "{switches.Compiler}", "{switches.None}", "{sources}", "-o{stem}", "{main}", "{args}"}, "a.c", []string{"x y"}, p)
	require.Equal(t, []string{"cc", "-g", "$(reboot)", "./a.c", "./c.c", "-oa", "a.c", "x y"}, got)
}
