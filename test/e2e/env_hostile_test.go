package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

// evil is a build backend that tries what no build needs. What it gets it says,
// and then fails.
const evil = `import os, socket, subprocess, sys, urllib.request
got = []
def tries(what, f):
    try: f()
    except (OSError, ValueError, subprocess.SubprocessError): return
    got.append(what)
def tcp(host, port): socket.create_connection((host, port), 2).close()
for host, port in [("127.0.0.1", 22), ("127.0.0.1", STRANGER), ("127.0.0.1", MIRROR), ("169.254.169.254", 80), ("192.0.2.1", 443), ("::1", STRANGER)]:
    tries(f"tcp {host}:{port}", lambda: tcp(host, port))
tries("dns", lambda: socket.getaddrinfo("mirror.example", 80))
for u in ["http://169.254.169.254/", "http://127.0.0.1:STRANGER/", "http://127.0.0.1:MIRROR/secret", "http://127.0.0.1:MIRROR/simple/../secret", "http://localhost:MIRROR/simple/", "https://127.0.0.1:MIRROR/simple/"]:
    tries(u, lambda: urllib.request.urlopen(u, timeout=5).read())
tries("post", lambda: urllib.request.urlopen("http://127.0.0.1:MIRROR/simple/", data=b"secrets", timeout=5).read())
if urllib.request.urlopen("http://127.0.0.1:MIRROR/simple/allowed", timeout=5).read() != b"allowed": got.append("no mirror")
def connect(): socket.socket(socket.AF_UNIX).connect("\0prairie-evil-test")
tries("abstract socket", connect)
tries("mount", lambda: subprocess.run(["mount", "-t", "tmpfs", "x", "/mnt"], check=True, capture_output=True))
tries("unshare", lambda: subprocess.run(["unshare", "-Ur", "true"], check=True, capture_output=True))
for p in ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/build/wheels/x"]:
    tries("write " + p, lambda: open(p, "w").close())
if any("SECRET" in k for k in os.environ): got.append("environment")
if len([p for p in os.listdir("/proc") if p.isdigit()]) > 10: got.append("processes")
if os.fork() == 0:
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2): os.dup2(null, fd)
    os.execvp("sleep", ["sleep", "98765"])
MORE
print("GOT", got, flush=True)
if got: sys.exit(1)
def prepare_metadata_for_build_wheel(d, config_settings=None): return metadata(d)
def metadata(d):
    i = os.path.join(d, "evil-1.0.dist-info"); os.mkdir(i)
    open(os.path.join(i, "METADATA"), "w").write("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    open(os.path.join(i, "WHEEL"), "w").write("Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    return "evil-1.0.dist-info"
def build_wheel(d, config_settings=None, metadata_directory=None):
    import zipfile
    name = "evil-1.0-py3-none-any.whl"
    i = metadata("/tmp")
    with zipfile.ZipFile(os.path.join(d, name), "w") as z:
        for f in ("METADATA", "WHEEL"): z.write(f"/tmp/{i}/{f}", f"{i}/{f}")
        z.writestr("evil.py", "X = 1\n"); z.writestr(i + "/RECORD", "")
    return name
`

// watched is what an install script must not reach, and what it could leave.
type watched struct {
	stranger *httptest.Server
	before   []string
}

// watch begins before a hostile build does.
func watch(t *testing.T) *watched {
	w := &watched{stranger: httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a stranger was reached") }))}
	t.Cleanup(w.stranger.Close)
	abstract, err := net.Listen("unix", "@prairie-evil-test")
	require.NoError(t, err)
	t.Cleanup(func() { abstract.Close() })
	w.before = buildMounts(t)
	return w
}

// replacer fills a script's blanks.
func (w *watched) replacer(mirror, more string) *strings.Replacer {
	port := func(u string) string { return u[strings.LastIndexByte(u, ':')+1:] }
	return strings.NewReplacer("STRANGER", port(w.stranger.URL), "MIRROR", port(mirror), "MORE", more)
}

// nothingLeft fails where a mount or a process of the scripts is still there.
func (w *watched) nothingLeft(t *testing.T) {
	require.Equal(t, w.before, buildMounts(t))
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, p := range all {
		b, _ := os.ReadFile(p)
		require.NotContains(t, string(b), "sleep\x0098765", "a process was left")
	}
}

// buildMounts are those that a build may have made; other tests of this package mount, too.
func buildMounts(t *testing.T) (ours []string) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, " - overlay ") || strings.Contains(line, "prairielambda-worker-") || strings.Contains(line, "test-bases") {
			ours = append(ours, line)
		}
	}
	return ours
}

// hostileInstall: an install script reaches the mirror and nothing else, and
// nothing of it is left, whether its build succeeds or has to be ended.
func hostileInstall(t *testing.T, s *stack.Stack) {
	var asked []string
	index := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		if r.URL.Path == "/simple/allowed" {
			fmt.Fprint(w, "allowed")
			return
		}
		http.NotFound(w, r)
	}))
	defer index.Close()
	w := watch(t)
	for name, tc := range map[string]struct{ more, want string }{
		"succeeds":   {"", ""},
		"never ends": {"import time; time.sleep(1000)", "its limit"},
		"floods":     {"while True: os.write(2, b'x' * 60000)", "its limit"},
		"fills":      {"f = open('/var/x', 'wb')\nwhile True: f.write(bytes(1 << 20))", "exit code"},
	} {
		wheels := t.TempDir()
		sdist(t, wheels, "evil", "1.0", w.replacer(index.URL, tc.more).Replace(evil))
		args := []string{"--wheels", wheels, "--pip-index", index.URL + "/simple", "--build-disk", "64MiB", "--build-memory", "256MiB"}
		if name == "never ends" {
			args = append(args, "--build-time", "5s")
		}
		r, err := buildEnv(t, s, "evil", "requirements.txt", "evil\n", args...)
		if tc.want == "" {
			require.NoError(t, err)
			require.NotEmpty(t, r.Environment)
		} else {
			require.ErrorContains(t, err, tc.want, name)
		}
	}
	for _, a := range asked {
		require.Regexp(t, `^GET /simple/(allowed|evil/)$`, a)
	}
	w.nothingLeft(t)
}
