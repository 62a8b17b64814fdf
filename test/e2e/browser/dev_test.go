package browser

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/machine"
)

// binary is built once for all tests.
var binary string

func TestMain(m *testing.M) {
	if dir := os.Getenv(passEnv); dir != "" {
		passThrough(dir)
	}
	dir, err := os.MkdirTemp("", "prairie-browser-")
	if err == nil {
		binary = filepath.Join(dir, "prairielambda")
		build := exec.Command("go", "build", "-o", binary, "github.com/prairielambda/prairielambda/cmd/prairielambda")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	code := 1
	if err == nil {
		code = m.Run()
		err = endShared()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// need skips, or fails where everything is required.
func need(t testing.TB, what string) {
	t.Helper()
	machine.Skip(t, "this machine lacks %s", what)
}

// dev is a running `prairielambda dev`.
type dev struct {
	t      testing.TB
	cmd    *exec.Cmd
	dir    string // the course
	cache  string // XDG_CACHE_HOME
	binary string
	env    []string // instead of the test's own, besides the cache
	attr   *syscall.SysProcAttr
	URL    string
	Curl   string // the line it printed
	stderr *locked
	ended  <-chan error
}

type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }

func (l *locked) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// sample is the sample course in a directory that a test may change.
func sample(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "sample")
	require.NoError(t, course.WriteSample(dir))
	return dir
}

// startDev starts dev on a free port and waits until it has said where.
func startDev(t testing.TB, dir string, args ...string) *dev {
	t.Helper()
	needPython(t)
	d := &dev{t: t, dir: dir, cache: t.TempDir(), binary: binary, stderr: &locked{}}
	d.run(args...)
	return d
}

var pythonLacks = sync.OnceValue(func() error {
	return exec.Command("/usr/bin/python3", "-c", "import numpy, sympy, lxml").Run()
})

func needPython(t testing.TB) {
	t.Helper()
	if pythonLacks() != nil {
		need(t, "a /usr/bin/python3 with numpy, sympy and lxml")
	}
}

// run starts d and sees to its end.
func (d *dev) run(args ...string) {
	t := d.t
	t.Helper()
	d.start(args...)
	t.Cleanup(func() {
		_ = d.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-d.ended:
		case <-time.After(20 * time.Second):
			_ = d.cmd.Process.Kill()
			t.Errorf("dev did not end after SIGTERM:\n%s", d.stderr)
		}
		if t.Failed() {
			t.Logf("dev said:\n%s", d.stderr)
		}
	})
}

func (d *dev) start(args ...string) {
	d.t.Helper()
	d.cmd = exec.Command(d.binary, append([]string{"dev", d.dir, "--listen", "127.0.0.1:0"}, args...)...)
	d.cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+d.cache)
	if d.env != nil {
		d.cmd.Env = append(slices.Clone(d.env), "XDG_CACHE_HOME="+d.cache)
	}
	d.cmd.SysProcAttr = d.attr
	d.cmd.Stderr = d.stderr
	out, err := d.cmd.StdoutPipe()
	require.NoError(d.t, err)
	require.NoError(d.t, d.cmd.Start())
	lines := bufio.NewScanner(out)
	for i := 0; i < 2 && lines.Scan(); i++ {
		if i == 0 {
			d.URL, _, _ = strings.Cut(lines.Text(), " ")
			if url, key, ok := strings.Cut(d.URL, "/?token="); ok {
				d.URL, d.Curl = url, key // no call is printed that would need the key
				break
			}
		} else {
			d.Curl = lines.Text()
		}
	}
	ended := make(chan error, 1)
	d.ended = ended
	go func() {
		_, _ = io.Copy(io.Discard, out)
		ended <- d.cmd.Wait()
		close(ended)
	}()
	require.NotEmpty(d.t, d.Curl, "dev ended before it served:\n%s", d.stderr)
}

func (d *dev) get(path string) (status int, body string) {
	d.t.Helper()
	resp, err := http.Get(d.URL + path)
	require.NoError(d.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(d.t, err)
	return resp.StatusCode, string(b)
}

func (d *dev) page(path string) string {
	d.t.Helper()
	status, body := d.get(path)
	require.Equal(d.t, http.StatusOK, status, "%s: %s", path, body)
	return body
}

var frameURL = regexp.MustCompile(`id="question"[^>]* src="(/frame/[A-Z0-9]+)"`)

// panel is the HTML of a question's panel.
func (d *dev) panel(path string) string {
	d.t.Helper()
	body := d.page(path)
	m := frameURL.FindStringSubmatch(body)
	require.NotNil(d.t, m, "no question panel in %s", body)
	return d.page(m[1])
}

// edit replaces a text in a file of the course, in one change: of one that is written
// where it is, dev may show the moment when it is empty.
func (d *dev) edit(path, old, text string) {
	d.t.Helper()
	file := filepath.Join(d.dir, filepath.FromSlash(path))
	b, err := os.ReadFile(file)
	require.NoError(d.t, err)
	require.Contains(d.t, string(b), old)
	beside := filepath.Join(filepath.Dir(d.dir), "edited")
	require.NoError(d.t, os.WriteFile(beside, bytes.ReplaceAll(b, []byte(old), []byte(text)), 0o644))
	require.NoError(d.t, os.Rename(beside, file))
}

// left lists what belongs to this dev and is still there: processes, mounts, directories.
func (d *dev) left() (all []string) {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		exe, _ := os.Readlink(p + "/exe")
		cmdline, _ := os.ReadFile(p + "/cmdline")
		env, _ := os.ReadFile(p + "/environ")
		if filepath.Dir(exe) == filepath.Dir(d.binary) && bytes.Contains(env, []byte("XDG_CACHE_HOME="+d.cache+"\x00")) {
			all = append(all, "process "+filepath.Base(p)+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for l := range strings.Lines(string(mounts)) {
		if strings.Contains(l, d.cache) {
			all = append(all, "mount "+l)
		}
	}
	return all
}

func TestDevServesACourse(t *testing.T) {
	d := theSample(t)
	list := d.page("/")
	require.Contains(t, list, "Prairie Sample")
	require.Contains(t, list, `href="/question/calculus/derivatives/cubic"`)
	require.NotContains(t, list, "to repair", "the sample course has no faults")

	panel := d.panel("/question/" + course.Cubic + "?seed=7")
	require.Contains(t, panel, "-(x - 4)*(x - 1)*(x + 1)")
	require.Equal(t, panel, d.panel("/question/"+course.Cubic+"?seed=7"), "the same seed is the same variant")
	require.NotEqual(t, panel, d.panel("/question/"+course.Cubic+"?seed=8"))

	out, err := exec.Command("sh", "-c", d.Curl).Output()
	require.NoError(t, err)
	require.Contains(t, string(out), `"variant_seed":1`)

	broken := d.page("/question/broken/chained")
	require.Contains(t, broken, "broken on purpose in generate")
	require.Contains(t, broken, "questions/broken/chained/server.py</code>, line 8")
	require.NotContains(t, broken, "<script>alert", "course text is escaped")
	require.Contains(t, d.page("/question/broken/prints"), "broken/prints: on stdout")

	status, picture := d.get("/files/" + version(t, d) + "/questions/physics/incline/clientFilesQuestion/incline.png")
	require.Equal(t, 200, status)
	require.True(t, strings.HasPrefix(picture, "\x89PNG"))
	for _, secret := range []string{"questions/physics/incline/server.py", "infoCourse.json", "serverFilesCourse/prairie/grading.py", "elements/ps-card/ps-card.py"} {
		status, _ = d.get("/files/" + version(t, d) + "/" + secret)
		require.Equal(t, 404, status, secret)
	}
}

// version is the whole version that a course's calls run with.
func version(t *testing.T, d *dev) string {
	t.Helper()
	resp, err := http.Post(d.URL+"/courses/sample/current/process/rfc/example", "application/json", strings.NewReader(`{"method":"generate","data":{"variant_seed":1}}`))
	require.NoError(t, err)
	resp.Body.Close()
	return resp.Header.Get("Prairie-Version")
}

func TestAnEditIsShown(t *testing.T) {
	t.Parallel()
	d := startDev(t, sample(t))
	require.Contains(t, d.panel("/question/physics/incline"), "rests on a slope")
	page, err := strconv.Atoi(toldMark.FindStringSubmatch(d.page("/question/physics/incline"))[1])
	require.NoError(t, err)
	told, next := d.events()
	require.Equal(t, page, told, "a page that shows all has nothing to ask for")
	d.edit("questions/physics/incline/question.html", "rests on a slope", "stands on a hill")
	require.Greater(t, next("changed"), page)
	told, _ = d.events()
	require.Greater(t, told, page, "nor does a page miss what changed before it came to listen")
	require.Contains(t, d.panel("/question/physics/incline"), "stands on a hill")

	d.edit("questions/physics/incline/server.py", "def generate(data):", "def generate(data)")
	next("changed")
	broken := d.page("/question/physics/incline")
	require.Contains(t, broken, "SyntaxError")
	require.Contains(t, broken, "questions/physics/incline/server.py</code>, line 7")
	file := filepath.Join(d.dir, "questions/physics/incline/server.py")
	wrong, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, bytes.Replace(wrong, []byte("def generate(data)"), []byte("def generate(data):"), 1), 0o644))
	next("changed")
	require.Eventually(t, func() bool { return !strings.Contains(d.page("/question/physics/incline"), `id="issues"`) }, bound, tick, "written where it is")
	require.Contains(t, d.panel("/question/physics/incline"), "stands on a hill")

	require.NoError(t, os.MkdirAll(filepath.Join(d.dir, "questions/new/one"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(d.dir, "questions/new/one/info.json"), []byte(`{"title": "Brand new", "topic": "Algebra"`), 0o644))
	require.Eventually(t, func() bool { return strings.Contains(d.page("/"), "questions/new/one/info.json") }, bound, tick)
	list := d.page("/")
	require.Contains(t, list, "not JSON: line 1")
	require.Contains(t, list, "calculus/derivatives/cubic", "the list still opens")
}

var toldMark = regexp.MustCompile(`data-told="(\d+)"`)

// events follows the page's changes: what it returns waits for the next of a name.
// Changes are numbered, and told is the number of the last.
func (d *dev) events() (told int, next func(event string) int) {
	d.t.Helper()
	events, err := http.Get(d.URL + "/events")
	require.NoError(d.t, err)
	d.t.Cleanup(func() { events.Body.Close() })
	lines := bufio.NewScanner(events.Body)
	next = func(event string) (told int) {
		d.t.Helper()
		for lines.Scan() {
			if lines.Text() == "event: "+event && lines.Scan() {
				told, err := strconv.Atoi(strings.TrimPrefix(lines.Text(), "data: "))
				require.NoError(d.t, err)
				return told
			}
		}
		d.t.Fatal("the stream of events ended")
		return 0
	}
	return next("hello"), next
}

func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			d := startDev(t, sample(t))
			d.page("/question/" + course.Cubic)
			require.NoError(t, d.cmd.Process.Signal(sig))
			err := <-d.ended
			if sig != syscall.SIGKILL {
				require.NoError(t, err)
			}
			require.Eventually(t, func() bool { return len(d.left()) == 0 }, bound, tick, "%v", d.left())
			if sig == syscall.SIGKILL { // the next one clears its directory away
				d.start()
				require.NoError(t, d.cmd.Process.Signal(syscall.SIGTERM))
				<-d.ended
				require.Eventually(t, func() bool { return len(d.left()) == 0 }, bound, tick, "%v", d.left())
			}
			runs, err := filepath.Glob(filepath.Join(d.cache, "prairielambda/*/run-*"))
			require.NoError(t, err)
			require.Empty(t, runs)
		})
	}
}

func TestSharedPortIsRefused(t *testing.T) {
	d := theSample(t)
	port := d.URL[strings.LastIndexByte(d.URL, ':')+1:]
	_, err := strconv.Atoi(port)
	require.NoError(t, err)
	out, err := exec.Command(binary, "dev", d.dir, "--listen", "127.0.0.1:"+port).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "address already in use")
}

// How long and how often to look for what must come; nothing here is about speed.
const (
	bound = 30 * time.Second
	tick  = 20 * time.Millisecond
)
