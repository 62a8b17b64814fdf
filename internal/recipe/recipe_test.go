package recipe

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const written = `
# what the course needs
base   = "python-313"
debian = ["libgomp1", "fonts-dejavu=2.37-8"]
pip    = ["Num_Py >= 2.1, <3", "shapes==1.0", "shapes == 1.0", "tz ; python_version < '3.9'"]
npm    = ["@types/node@20.1.0"]
files  = {
  "/etc/motd"       = "hello\n"
  "/usr/bin/thing"  = <<EOT
#!/bin/sh
echo $HOME
EOT
}
settings = { LANG = "C.UTF-8", "SHAPE" = "round" }
`

func TestOneCanonicalFormWhateverItWasWrittenIn(t *testing.T) {
	h, err := Parse("environment.hcl", []byte(written))
	require.NoError(t, err)
	require.Equal(t, []string{"num-py<3,>=2.1", "shapes==1.0", "tz; python_version < '3.9'"}, h.Pip)
	require.Equal(t, "#!/bin/sh\necho $HOME\n", h.Files["/usr/bin/thing"])
	raw, err := json.Marshal(map[string]any{
		"settings": map[string]string{"SHAPE": "round", "LANG": "C.UTF-8"}, "base": "python-313",
		"pip": []string{"tz; python_version < '3.9'", "shapes==1.0", "num.py<3,>=2.1"}, "npm": h.NPM,
		"debian": []string{"libgomp1", "fonts-dejavu=2.37-8"}, "files": h.Files,
	})
	require.NoError(t, err)
	j, err := Parse("x.json", raw)
	require.NoError(t, err)
	require.Equal(t, h, j)
	require.Equal(t, h.Digest(), j.Digest())
	require.Regexp(t, `^recipe-[0-9a-f]{40}$`, h.Name())
	j.Settings["SHAPE"] = "square"
	require.NotEqual(t, h.Digest(), j.Digest())

	r, err := Parse("requirements.txt", []byte("# two\nnumpy==2.1 # with a comment\n\n  Sympy\n"))
	require.NoError(t, err)
	require.Equal(t, &Recipe{Pip: []string{"numpy==2.1", "sympy"}}, r)
	empty, err := ParseJSON([]byte(`{"files":{},"pip":[]}`))
	require.NoError(t, err)
	require.True(t, empty.Empty())
}

func TestRefused(t *testing.T) {
	many := strings.Repeat("\"a\",", maxPackages+1)
	for _, tc := range []struct{ name, text, want string }{
		{"x.yaml", "", "no .hcl"},
		{"x.json", `{"bse":"x"}`, "unknown field"},
		{"x.json", `{} {}`, "follows"},
		{"x.json", `{"base":"../etc"}`, "base"},
		{"x.json", `{"base":"a@b"}`, "base"},
		{"x.json", `{"debian":["-o=Dir::Etc=/x"]}`, "debian"},
		{"x.json", `{"debian":["a/../b"]}`, "debian"},
		{"x.json", `{"npm":["git+ssh://x/y"]}`, "npm"},
		{"x.json", `{"npm":["x@latest"]}`, "npm"},
		{"x.json", `{"pip":["--index-url=http://x"]}`, "pip"},
		{"x.json", `{"pip":["a @ http://x/a.whl"]}`, "pip"},
		{"x.json", `{"pip":["./a.whl"]}`, "pip"},
		{"x.json", `{"pip":["a==1; $(id)"]}`, "pip"},
		{"x.json", `{"pip":["a==1\nb"]}`, "pip"},
		{"requirements.txt", "-r other.txt\n", "pip"},
		{"requirements.txt", "-e .\n", "pip"},
		{"x.json", `{"pip":[` + strings.TrimSuffix(many, ",") + `]}`, "packages"},
		{"x.json", `{"files":{"etc/x":""}}`, "clean absolute"},
		{"x.json", `{"files":{"/etc/../x":""}}`, "clean absolute"},
		{"x.json", `{"files":{"/proc/x":""}}`, "its own there"},
		{"x.json", `{"files":{"/etc/.wh.x":""}}`, "called that"},
		{"x.json", `{"files":{"/a":"","/a/b":""}}`, "below the file"},
		{"x.json", `{"settings":{"A=B":""}}`, "variable"},
		{"x.json", `{"settings":{"A":"\u0000"}}`, "no text"},
		{"x.json", `{"files":{"/a":"` + strings.Repeat("x", MaxBytes) + `"}}`, "bytes"},
		{"x.hcl", `base = upper("x")`, "written out"},
		{"x.hcl", `pip = [for i in [1,2] : "a"]`, "written out"},
		{"x.hcl", `base = "a${b}"`, "written out"},
		{"x.hcl", `file "x" {}`, "only attributes"},
		{"x.hcl", `base = "a"` + "\n" + `base = "b"`, "environment.hcl"},
		{"x.hcl", `files = {"/a"="","/a"=""}`, "twice"},
		{"x.hcl", "pip = " + strings.Repeat("[", 50000), "nest deeper"},
		{"x.hcl", `pip = [1]`, "written out"},
	} {
		_, err := Parse(tc.name, []byte(tc.text))
		var refused *Error
		require.ErrorAs(t, err, &refused, "%.80s", tc.text)
		require.ErrorContains(t, err, tc.want, "%.80s", tc.text)
	}
}

// FuzzRecipe: what is accepted has one form, that reads as itself, and no word of
// it could be an option or an address.
func FuzzRecipe(f *testing.F) {
	f.Add(0, []byte(written))
	f.Add(1, []byte(`{"base":"a","pip":["b==1"],"files":{"/x":"#!/bin/sh\n"},"settings":{"A":"b"}}`))
	f.Add(2, []byte("numpy==2.1\nscipy[all]>=1,<2 ; python_version>'3'\n"))
	f.Fuzz(func(t *testing.T, form int, b []byte) {
		name := []string{"x.hcl", "x.json", "x.txt"}[uint(form)%3]
		r, err := Parse(name, b)
		if err != nil {
			return
		}
		again, err := ParseJSON(r.encode())
		require.NoError(t, err)
		require.Equal(t, r.Digest(), again.Digest())
		for _, list := range [][]string{r.Debian, r.NPM, r.Pip} {
			for _, w := range list {
				require.False(t, strings.HasPrefix(w, "-") || strings.Contains(w, "://") || strings.ContainsAny(w, "\n\x00`$"), fmt.Sprintf("%q", w))
			}
		}
	})
}

// TestTheManualsExample: what people copy is read as it is printed.
func TestTheManualsExample(t *testing.T) {
	manual, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, example, _ := strings.Cut(string(manual), "```hcl\n")
	example, _, _ = strings.Cut(example, "```")
	r, err := Parse(HCLFile, []byte(example))
	require.NoError(t, err)
	require.Equal(t, []string{"shapes", "tools@2.0.0"}, r.NPM)
}
