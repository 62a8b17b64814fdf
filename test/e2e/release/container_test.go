package release

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/machine"
)

// container starts an image as an engine does that was given the documented flags:
// its layers unpacked, its configuration and the flags handed to runc.
type container struct {
	root   string // the layers, one over the other
	config *v1.ConfigFile
	course string
	debian []object // mounts in place of the packages that a short run's image lacks
}

// serves has an image do what its users are told, under all flags that they are
// told, or, in the short run, each thing once.
func serves(t *testing.T, img v1.Image, whole bool) {
	machine.Root(t)
	if _, err := exec.LookPath("runc"); err != nil {
		machine.Skip(t, "this machine lacks runc (Debian: runc)")
	}
	config, err := img.ConfigFile()
	require.NoError(t, err)
	c := &container{root: unpackImage(t, img), config: config, course: course.Sample(t).Dir}
	if !whole {
		c.debian = append(debian(), mount("/usr/local/bin", "bind", filepath.Join(c.root, "usr/local/bin"), "bind", "ro"))
		c.root = t.TempDir() // a source below the root would be hidden by what is mounted there
		require.NoError(t, os.Mkdir(filepath.Join(c.root, "tmp"), 0o777))
		c.dev(t, privileged)
		require.Contains(t, c.run(t, least, "test", "/course", "words/planets", "--quiet"), "1 questions, 0 failed")
		return
	}
	for _, f := range []flags{privileged, least, noFUSE} {
		t.Run(f.name, func(t *testing.T) {
			says := c.run(t, f, "doctor")
			require.NotContains(t, says, "NO ")
			for _, s := range []string{"sandbox tier                         root", "ok    course code runs", "ok    git", "ok    python: numpy", "ok    python: sympy", "ok    python: lxml.html", "ok    python: markdown_it", "ok    node"} {
				require.Contains(t, says, s)
			}
			require.Contains(t, c.run(t, f, "test", "/course", "words", "calculus", "--quiet"), ", 0 failed")
			c.dev(t, f)
		})
	}
}

// unpackImage leaves the image's files in a directory; tar knows links, owners and modes.
func unpackImage(t *testing.T, img v1.Image) (root string) {
	t.Helper()
	root = t.TempDir()
	layers := mutate.Extract(img)
	defer layers.Close()
	tar := exec.Command("tar", "--extract", "--directory", root)
	tar.Stdin = layers
	out, err := tar.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return root
}

// start begins the image's command, or another of its program.
func (c *container) start(t *testing.T, f flags, args ...string) (run *exec.Cmd, runc func(...string) *exec.Cmd, bundle string) {
	t.Helper()
	bundle = t.TempDir()
	id := fmt.Sprintf("prairie-release-%d-%s", os.Getpid(), f.name)
	state := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bundle, "config.json"), c.spec(t, f, "/"+id, args), 0o644))
	runc = func(args ...string) *exec.Cmd {
		return exec.Command("runc", append([]string{"--root", state, args[0]}, append(args[1:], id)...)...)
	}
	t.Cleanup(func() { _ = runc("delete", "--force").Run() })
	return runc("run", "--bundle", bundle, "--pid-file", filepath.Join(bundle, "pid")), runc, bundle
}

// run returns what a command printed, which must end well.
func (c *container) run(t *testing.T, f flags, args ...string) string {
	t.Helper()
	cmd, _, _ := c.start(t, f, args...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %s: %s", f.name, args, out)
	return string(out)
}

// dev starts the image as it is, and looks at its page from beside it.
func (c *container) dev(t *testing.T, f flags) {
	t.Helper()
	cmd, runc, bundle := c.start(t, f, c.config.Config.Cmd...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		require.NoError(t, err, "dev printed no address: %s", &said)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	url, _, _ := strings.Cut(line, " ")
	require.Contains(t, url, "http://127.0.0.1:3000/?token=", "what the published port is opened by")
	pid, err := os.ReadFile(filepath.Join(bundle, "pid"))
	require.NoError(t, err)
	look := func(url string) string {
		jar := filepath.Join(bundle, "jar")
		page, err := exec.Command("nsenter", "--net", "--target", string(pid), "curl", "--silent", "--show-error", "--fail", "--location", "--cookie", jar, "--cookie-jar", jar, url).Output()
		require.NoError(t, err, url)
		return string(page)
	}
	require.Contains(t, look(url), `href="/question/`+course.Cubic+`"`)
	page := look("http://127.0.0.1:3000/question/" + course.Cubic + "?seed=7")
	_, frame, found := strings.Cut(page, ` src="/frame/`)
	require.True(t, found, page)
	frame, _, _ = strings.Cut(frame, `"`)
	require.Contains(t, look("http://127.0.0.1:3000/frame/"+frame), "-(x - 4)*(x - 1)*(x + 1)")
	require.NoError(t, runc("kill").Run()) // docker stop
	err = cmd.Wait()
	require.NoError(t, err, "%s", &said)
	require.Equal(t, f == noFUSE, strings.Contains(said.String(), "No FUSE here"), "%s", &said)
}
