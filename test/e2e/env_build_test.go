package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/e2e/debian"
	"github.com/prairielambda/prairielambda/test/e2e/stack"
	"github.com/prairielambda/prairielambda/test/machine"
)

// built is what `syncer env build --json` prints.
type built struct {
	Environment, Built string
	Reused             bool
	Bytes              int64
}

// basesDir is shared by a machine's runs, as an operator's would be.
func basesDir(t *testing.T) string {
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	return filepath.Join(cache, "prairielambda", "test-bases")
}

func buildEnv(t *testing.T, s *stack.Stack, name, file, recipe string, args ...string) (b built, err error) {
	t.Helper()
	p := filepath.Join(t.TempDir(), file)
	require.NoError(t, os.WriteFile(p, []byte(recipe), 0o644))
	out, err := s.Run("syncer", append([]string{"env", "build", "--json", "--store", s.Store, "--bases", basesDir(t), name, p}, args...)...)
	if err == nil {
		require.NoError(t, json.Unmarshal([]byte(out), &b), "%s", out)
	}
	return b, err
}

// debianMirror is the one that this machine's own apt takes its packages from.
func debianMirror(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main").Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimRight(line, "/\n"); strings.HasPrefix(line, "http") && strings.HasSuffix(line, "/debian") {
			return line
		}
	}
	machine.Skip(t, "apt has no Debian mirror here")
	return ""
}

func TestEnvironmentsAreBuiltOfRecipes(t *testing.T) {
	machine.Root(t)
	s := newStack(t)
	wheels := t.TempDir()
	for v := 1; v <= 2; v++ {
		wheel(t, wheels, "prairielib", fmt.Sprintf("%d.0", v), map[string]string{"prairielib/__init__.py": fmt.Sprintf("VERSION = %d\n", v)}, "prairietools>=1")
	}
	library(t, wheels, "prairietools", "1.5")
	root := "root:" + debian.Root(t, "trixie", pythonPackages...)
	pushEnv(t, s, "default", root)
	elsewhere := twin(t, s)
	from := []string{"--wheels", wheels}
	one, err := buildEnv(t, s, "one", "requirements.txt", "prairielib==1.0\n", from...)
	require.NoError(t, err)
	two, err := buildEnv(t, s, "two", "environment.hcl", `
pip      = ["PrairieLib >= 2"]
files    = { "/usr/share/prairie/hello" = "hello\n", "/usr/bin/hello" = "#!/bin/sh\ncat /usr/share/prairie/hello\n" }
settings = { SHAPE = "round" }
`, from...)
	require.NoError(t, err)

	t.Run("one recipe is one environment", func(t *testing.T) {
		again, err := buildEnv(t, s, "again", "x.json", `{"base":"default","pip":["prairielib==1.*"]}`, from...)
		require.NoError(t, err)
		require.True(t, again.Reused)
		require.Zero(t, again.Bytes)
		require.Equal(t, strings.TrimPrefix(one.Environment, "one@"), strings.TrimPrefix(again.Environment, "again@"))
		require.Equal(t, one.Built, again.Built)
		require.NotEqual(t, one.Built, two.Built)
	})
	t.Run("another build of the same is the same", func(t *testing.T) {
		same, err := buildEnv(t, elsewhere, "one", "requirements.txt", "prairielib==1.0\n", from...)
		require.NoError(t, err)
		require.Equal(t, one, same, "byte for byte")
	})
	t.Run("one package more is its own bytes more", func(t *testing.T) { onePackageMore(t, s, wheels) })

	a, b := course.Sample(t), course.Sample(t)
	inEnvironment(t, a.Dir, `{"environment":"one"}`)
	inEnvironment(t, b.Dir, `{"environment":"two"}`)
	byFile := map[string]map[string]string{
		"hcl":          {"environment.hcl": `pip = ["prairielib==2.0"]`},
		"requirements": {"requirements.txt": "prairielib==1.0\n"},
		"json":         {"lambda.json": `{"environment":{"base":"default","pip":["prairielib==1.*"]}}`},
		"unbuilt":      {"environment.hcl": `pip = ["prairielib>1.9"]`},
		"wrong":        {"environment.hcl": `pip = upper("x")`},
		"other":        {"requirements.txt": "something-for-another-purpose\n"},
	}
	buildEnv(t, s, "hcl", "environment.hcl", byFile["hcl"]["environment.hcl"], from...)
	dirs := map[string]string{"a": a.Dir, "b": b.Dir}
	for name, files := range byFile {
		dirs[name] = t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dirs[name], "infoCourse.json"), []byte("{}"), 0o644))
		for f, content := range files {
			require.NoError(t, os.WriteFile(filepath.Join(dirs[name], f), []byte(content), 0o644))
		}
		inEnvironment(t, dirs[name], "")
	}
	for name, dir := range dirs {
		_, err := s.Push(name, dir)
		require.NoError(t, err)
	}
	startBuilder(t, s, from...)

	t.Run("two courses with two versions at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				p, answer := generate(t, s, string(rune('a'+i%2)), "whereami", i)
				if assertParams(t, p, answer) && p["lib"] != float64(1+i%2) {
					t.Errorf("course %c ran with version %v", 'a'+i%2, p["lib"])
				}
			})
		}
		wg.Wait()
		p, answer := generate(t, s, "a", "calculus/derivatives/cubic", 1) // unmodified
		require.NotNil(t, p, "%s", answer.Body)
	})
	t.Run("courses bring their recipes", func(t *testing.T) {
		for name, want := range map[string]any{"hcl": 2.0, "requirements": 1.0, "json": 1.0, "other": "none"} {
			p, answer := generate(t, s, name, "whereami", 1)
			if assertParams(t, p, answer) {
				require.Equal(t, want, p["lib"], name)
			}
		}
		for name, want := range map[string]string{"unbuilt": "had not been built", "wrong": "written out"} {
			_, answer := generate(t, s, name, "whereami", 1)
			require.Equal(t, 422, answer.Status, "%s: %s", name, answer.Body)
			require.Contains(t, string(answer.Body), want)
		}
	})
	t.Run("a program brings its recipe", func(t *testing.T) { programWithRecipe(t, s) })
	t.Run("dev builds on save", func(t *testing.T) { devBuildsOnSave(t, append(from, "--env", "default="+root)...) })
	t.Run("a hostile install script", func(t *testing.T) { hostileInstall(t, s) })
	t.Run("a Debian package", func(t *testing.T) {
		_, err := buildEnv(t, s, "debian", "x.json", `{"base":"default","debian":["hello"],"pip":["prairielib==1.0"]}`, "--debian-mirror", debianMirror(t), "--wheels", wheels)
		require.NoError(t, err)
		out, err := s.Run("syncer", "env", "diff", "--store", s.Store, "one", "debian")
		require.NoError(t, err)
		require.Contains(t, out, "A usr/bin/hello\n")
		require.NotContains(t, out, " var/lib/apt/lists")
		require.NotContains(t, out, " var/cache/apt")
	})
	t.Run("a Debian root", func(t *testing.T) {
		if !machine.Soak() {
			t.Skip("a root of its own takes a minute: SOAK=1")
		}
		_, err := buildEnv(t, s, "root", "environment.hcl", `debian = ["hello"]`, "--debian-mirror", debianMirror(t), "--debian-suite", "trixie")
		require.NoError(t, err)
		out, err := s.Run("syncer", "env", "ls", "--store", s.Store, "root", "usr/bin")
		require.NoError(t, err)
		require.Contains(t, out, "/usr/bin/hello\n")
	})
}

// onePackageMore compares two environments that differ in one package.
func onePackageMore(t *testing.T, s *stack.Stack, wheels string) {
	size := library(t, wheels, "prairiemore", "3.0")
	more, err := buildEnv(t, s, "more", "requirements.txt", "prairielib==1.0\nprairiemore==3.0\n", "--wheels", wheels)
	require.NoError(t, err)
	out, err := s.Run("syncer", "env", "ls", "--store", s.Store, "--json", "more", "usr/local/lib")
	require.NoError(t, err)
	var brought, entries int64
	for line := range strings.Lines(out) {
		var f struct {
			Path string
			Size int64
		}
		require.NoError(t, json.Unmarshal([]byte(line), &f))
		if entries++; strings.Contains(f.Path, "prairiemore") {
			brought += f.Size
		}
	}
	require.Greater(t, brought, size, "its compiled form and its metadata count, too")
	manifest := manifestSize(t, s, more.Environment)
	t.Logf("the package is %d bytes, the manifest %d; stored %d", brought, manifest, more.Bytes)
	require.LessOrEqual(t, more.Bytes, brought*12/10+manifest)
}

// manifestSize is what the manifest of an environment, NAME@DIGEST, takes in the store.
func manifestSize(t *testing.T, s *stack.Stack, environment string) int64 {
	t.Helper()
	_, digest, _ := strings.Cut(environment, "@")
	var size int64
	require.NoError(t, filepath.WalkDir(strings.TrimPrefix(s.Store, "dir://"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(strings.ReplaceAll(p, "/", ""), digest) || !strings.Contains(p, "blobs") {
			return err
		}
		info, err := d.Info()
		size = info.Size()
		return err
	}))
	require.Positive(t, size)
	return size
}

// startBuilder starts mount, worker, builder and a gateway that asks it.
func startBuilder(t *testing.T, s *stack.Stack, args ...string) {
	t.Helper()
	require.NoError(t, s.StartMount())
	require.NoError(t, s.StartWorker(t.Context()))
	sum := sha256.Sum256([]byte("s3cret"))
	tokens, secret := filepath.Join(s.Dir, "builder-tokens"), filepath.Join(s.Dir, "builder-secret")
	require.NoError(t, os.WriteFile(tokens, fmt.Appendf(nil, "%x environments\n", sum), 0o600))
	require.NoError(t, os.WriteFile(secret, []byte("s3cret\n"), 0o600))
	at, err := stack.FreeAddr()
	require.NoError(t, err)
	_, err = s.Daemon("syncer", append([]string{"env", "serve", "--store", s.Store, "--bases", basesDir(t), "--tokens", tokens, "--listen", at}, args...)...)
	require.NoError(t, err)
	gate, err := stack.FreeAddr()
	require.NoError(t, err)
	s.Gateway = "http://" + gate
	_, err = s.Daemon("scheduler", "serve", "--listen", gate, "--worker", s.Worker, "--builder", "http://"+at, "--builder-secret", secret)
	require.NoError(t, err)
	for _, u := range []string{"http://" + at + "/healthz", s.Gateway + "/readyz"} {
		require.Eventually(t, func() bool {
			r, err := http.Get(u)
			if err == nil {
				r.Body.Close()
			}
			return err == nil && r.StatusCode == 200
		}, 40*time.Second, 50*time.Millisecond, u)
	}
}

func programWithRecipe(t *testing.T, s *stack.Stack) {
	program := object{
		"runtime": "python", "files": []object{{"basename": "main.py", "contents": "import os, prairielib; print(prairielib.VERSION, os.environ['SHAPE'])"}},
		"environment": object{"pip": []string{"prairielib == 2.0"}, "settings": object{"SHAPE": "square"}},
	}
	first, second := post(t, s, "/run", program), post(t, s, "/run", program)
	require.Equal(t, 202, first.Status, "%s", first.Body)
	require.Equal(t, 202, second.Status, "%s", second.Body)
	id := decode(t, first)["identifier"].(string)
	require.Equal(t, id, decode(t, second)["identifier"], "both wait for one build")
	lines, end := follow(t, s, id, 0)
	require.Zero(t, end.Status, "%v\n%s", end, lines)
	require.Contains(t, lines, "console: install 2 Python packages")
	for range 2 {
		a := post(t, s, "/run", program)
		require.Equal(t, 200, a.Status, "%s", a.Body)
		require.Equal(t, "2 square\n", decode(t, a)["stdout"], "%s", a.Body)
	}
	a := post(t, s, "/check_output/", object{"identifier": id[:len(id)-1] + "0", "read": 0})
	require.Equal(t, 404, a.Status)

	for want, env := range map[string]any{
		"no package of a registry": object{"pip": []string{"--index-url=http://x"}}, "there is no environment nowhere": "nowhere",
		"is NAME": "../x", "unknown field": object{"image": "x"},
	} {
		program["environment"] = env
		a := post(t, s, "/run", program)
		require.Equal(t, 400, a.Status, "%s", a.Body)
		require.Contains(t, string(a.Body), want)
	}
	program["environment"] = "two"
	a = post(t, s, "/run", program)
	require.Equal(t, "2 round\n", decode(t, a)["stdout"], "%s", a.Body)
	program["environment"] = object{"pip": []string{"there-is-no-such-thing"}}
	a = post(t, s, "/run", program)
	require.Equal(t, 202, a.Status, "%s", a.Body)
	lines, end = follow(t, s, decode(t, a)["identifier"].(string), 0)
	require.Equal(t, 1, end.Status)
	require.Contains(t, strings.Join(lines, "\n"), "No matching distribution")
	program["environment"] = object{"base": "nowhere", "pip": []string{"x"}}
	a = post(t, s, "/run", program)
	_, end = follow(t, s, decode(t, a)["identifier"].(string), 0)
	require.Contains(t, end.Message, "no environment nowhere")
}

// devBuildsOnSave: an author adds a library to a recipe, saves, and the course has it.
func devBuildsOnSave(t *testing.T, args ...string) {
	programs, err := stack.Build(t.TempDir(), "prairielambda")
	require.NoError(t, err)
	bases, cache := basesDir(t), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache) // after the build, whose cache lies there too
	dir := filepath.Join(t.TempDir(), "saved")
	require.NoError(t, os.Mkdir(dir, 0o755))
	// What `syncer env build` unpacked is not unpacked again: dev finds it in its place.
	base := fmt.Sprintf("%x", sha256.Sum256([]byte(dir)))[:16]
	require.NoError(t, os.MkdirAll(filepath.Join(cache, "prairielambda", base), 0o700))
	require.NoError(t, os.Symlink(bases, filepath.Join(cache, "prairielambda", base, "bases")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "infoCourse.json"), []byte("{}"), 0o644))
	inEnvironment(t, dir, "")
	at, err := stack.FreeAddr()
	require.NoError(t, err)
	cmd := exec.Command(filepath.Join(programs, "prairielambda"), append([]string{"dev", dir, "--listen", at}, args...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		_ = cmd.Wait() // 130
		if t.Failed() {
			t.Log(said.String())
		}
	})
	dev := &stack.Stack{Gateway: "http://" + at}
	library := func(want any) {
		var last string
		require.Eventually(t, func() bool {
			a, err := dev.Post("/courses/saved/current/question/whereami", object{"method": "generate", "data": seed(1)})
			if err != nil {
				return false
			}
			last = string(a.Body)
			return a.Status == 200 && decode(t, a)["params"].(object)["lib"] == want
		}, 5*time.Minute, 100*time.Millisecond, "%s", &last)
	}
	library("none")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "environment.hcl"), []byte(`pip = ["prairielib==2.0"]`), 0o644))
	library(2.0)
}
