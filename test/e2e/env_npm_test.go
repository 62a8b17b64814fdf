package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

// languagesIn is a directory of runtimes that run Node in environments.
func languagesIn(t *testing.T, environments map[string]string) string {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	for name, environment := range environments {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".hcl"), fmt.Appendf(nil, `
runtime %q {
  environment = %q
  version     = ["20"]
  needs       = ["/usr/bin/node"]
  suffixes    = [".%s"]
  install     = "push the environment"
  step "run" { command = ["/usr/bin/node", "{main}"] }
  mode "run" { steps = ["run"] }
}
`, name, environment, name), 0o644))
	}
	return dir
}

// twin is a second store that holds what s's does, and shares nothing with it from now on.
func twin(t *testing.T, s *stack.Stack) *stack.Stack {
	t.Helper()
	other := newStack(t)
	out, err := exec.Command("cp", "-a", strings.TrimPrefix(s.Store, "dir://"), strings.TrimPrefix(other.Store, "dir://")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return other
}

// TestAProgramBringsPackagesOfNPM: an author adds one library; the first run waits
// for its build, with progress, and the next ones find it.
func TestAProgramBringsPackagesOfNPM(t *testing.T) {
	s := newStack(t)
	r := newRegistry(t)
	r.publish(t, "tools", "1.2.0", module("1.2.0"), nil)
	r.publish(t, "tools", "2.0.0", module("2.0.0"), nil)
	r.publish(t, "shapes", "1.0.0", map[string]string{
		"index.js": "exports.tools = require('tools').version; exports.made = require('fs').readFileSync(__dirname + '/made', 'utf8')\n",
		"make.js":  "require('fs').writeFileSync(__dirname + '/made', 'by its script')\n",
	}, object{"dependencies": object{"tools": "^1.0.0"}, "scripts": object{"install": "node make.js"}})
	digest := pushEnv(t, s, "default", nodeImage(t))
	t.Setenv("PRAIRIE_LANGUAGES", languagesIn(t, map[string]string{"by-name": "default", "by-digest": "default@" + digest, "of-npm": "first", "nowhere": "nowhere"}))
	other := twin(t, s)
	from := []string{"--npm-registry", r.url()}
	startBuilder(t, s, from...)

	program := object{
		"runtime": "node", "files": []object{{"basename": "main.mjs", "contents": "import shapes from 'shapes'; import tools from 'tools'; console.log(shapes.tools, shapes.made, tools.version, process.env.SHAPE)"}},
		"environment": object{
			"npm": []string{"tools@2.0.0", "shapes"}, "settings": object{"SHAPE": "round"}, "files": object{"/usr/share/course/greeting": "hello\n"},
		},
	}
	a := post(t, s, "/run", program)
	require.Equal(t, 202, a.Status, "%s", a.Body)
	lines, end := follow(t, s, decode(t, a)["identifier"].(string), 0)
	require.Zero(t, end.Status, "%v\n%s", end, lines)
	require.Contains(t, lines, "console: install 3 npm packages")
	asked := len(r.asked)
	for range 2 {
		a := post(t, s, "/run", program)
		require.Equal(t, 200, a.Status, "%s", a.Body)
		require.Equal(t, "1.2.0 by its script 2.0.0 round\n", decode(t, a)["stdout"], "%s", a.Body)
	}
	require.Len(t, r.asked, asked, "it is built once")

	manual, err := os.ReadFile("../../internal/recipe/README.md")
	require.NoError(t, err)
	_, asks, _ := strings.Cut(string(manual), "```hcl\n")
	asks, _, _ = strings.Cut(asks, "```")
	first, err := buildEnv(t, s, "first", "environment.hcl", asks, from...)
	require.NoError(t, err)
	require.True(t, first.Reused, "what the manual asks for is what the program does")
	t.Run("a runtime names its environment", func(t *testing.T) {
		for runtime, want := range map[string]string{"by-name": `"stdout":"none\n"`, "by-digest": `"stdout":"none\n"`, "of-npm": `"stdout":"2.0.0\n"`, "nowhere": "there is no environment nowhere"} {
			a := post(t, s, "/run", object{
				"runtime": runtime, "files": []object{{"basename": "main.js", "contents": "try { console.log(require('tools').version) } catch { console.log('none') }"}},
			})
			require.Contains(t, string(a.Body), want, runtime)
		}
	})
	t.Run("a submission", func(t *testing.T) {
		a := post(t, s, "/run_program/", program)
		require.Equal(t, 200, a.Status, "%s", a.Body)
		lines, end := follow(t, s, decode(t, a)["identifier"].(string), 0)
		require.Zero(t, end.Status, "%s", lines)
		require.Contains(t, strings.Join(lines, "\n"), "1.2.0 by its script 2.0.0 round")
	})
	t.Run("what it meant once it means until it is built again", func(t *testing.T) {
		r.publish(t, "tools", "1.3.0", module("1.3.0"), nil)
		a := post(t, s, "/run", program)
		require.Equal(t, "1.2.0 by its script 2.0.0 round\n", decode(t, a)["stdout"], "%s", a.Body)
		second, err := buildEnv(t, s, "second", "environment.hcl", asks, from...)
		require.NoError(t, err)
		require.NotEqual(t, first.Built, second.Built)
	})
	t.Run("over an environment that has some", func(t *testing.T) {
		r.publish(t, "@scope/more", "3.0.0", module("3.0.0"), nil)
		_, err := buildEnv(t, s, "more", "x.json", `{"base":"`+first.Environment+`","npm":["@scope/more@3.0.0"]}`, from...)
		require.NoError(t, err)
		program := maps.Clone(program)
		program["environment"] = "more"
		program["files"] = []object{{"basename": "main.cjs", "contents": "console.log(require('shapes').tools, require('@scope/more').version)"}}
		a := post(t, s, "/run", program)
		require.Equal(t, "1.2.0 3.0.0\n", decode(t, a)["stdout"], "%s", a.Body)
	})
	t.Run("another build of the same is the same", func(t *testing.T) {
		same, err := buildEnv(t, other, "first", "environment.hcl", asks, from...)
		require.NoError(t, err)
		second, err := buildEnv(t, s, "first", "environment.hcl", asks, from...)
		require.NoError(t, err)
		require.Equal(t, second, built{Environment: same.Environment, Built: same.Built, Reused: true})
		require.False(t, same.Reused)
	})
	t.Run("a hostile install script", func(t *testing.T) { hostilePackage(t, s, r) })
	t.Run("refused", func(t *testing.T) {
		r.publish(t, "elsewhere", "1.0.0", module("1.0.0"), object{"dependencies": object{"x": "http://127.0.0.1:1/x.tgz"}})
		for asks, want := range map[string]string{`"elsewhere"`: "exit code", `"there-is-no-such"`: "exit code"} {
			_, err := buildEnv(t, s, "refused", "x.json", `{"npm":[`+asks+`]}`, from...)
			require.ErrorContains(t, err, want)
		}
	})
	t.Run("the real registry", func(t *testing.T) {
		out, err := exec.Command("npm", "config", "get", "registry").Output()
		require.NoError(t, err)
		real, err := buildEnv(t, s, "real", "environment.hcl", `npm = ["is-odd@3.0.1"]`, "--npm-registry", strings.TrimSpace(string(out)))
		require.NoError(t, err)
		program := maps.Clone(program)
		program["environment"] = real.Environment
		program["files"] = []object{{"basename": "main.js", "contents": "console.log(require('is-odd')(3))"}}
		a := post(t, s, "/run", program)
		require.Equal(t, "true\n", decode(t, a)["stdout"], "%s", a.Body)
	})
}

// malice is an install script that tries what no installation needs.
const malice = `
const net = require('net'), http = require('http'), dns = require('dns'), fs = require('fs'), child = require('child_process')
const got = [], wait = []
const tries = (what, f) => wait.push(new Promise(done => { try { f(ok => { if (ok) got.push(what); done() }) } catch (e) { done() } }))
for (const [host, port] of [['127.0.0.1', 22], ['127.0.0.1', STRANGER], ['127.0.0.1', MIRROR], ['169.254.169.254', 80], ['192.0.2.1', 443], ['::1', STRANGER]])
  tries('tcp ' + host + ':' + port, end => { const c = net.connect({host, port, timeout: 2000}); c.on('connect', () => { c.destroy(); end(true) }); c.on('error', () => end(false)); c.on('timeout', () => { c.destroy(); end(false) }) })
tries('dns', end => dns.lookup('mirror.example', err => end(!err)))
tries('abstract socket', end => { const c = net.connect({path: '\0prairie-evil-test'}); c.on('connect', () => end(true)); c.on('error', () => end(false)) })
const ask = (path, method, end, body) => { const q = http.request({host: '127.0.0.1', port: 3128, path, method}, r => { r.resume(); r.on('end', () => end(r.statusCode)) }); q.on('error', () => end(0)); q.end(body) }
for (const u of ['http://169.254.169.254/', 'http://127.0.0.1:STRANGER/', 'http://127.0.0.1:MIRROR/secret', 'http://127.0.0.1:MIRROR/npm/../secret', 'http://localhost:MIRROR/npm/'])
  tries(u, end => ask(u, 'GET', code => end(code != 403)))
tries('publish', end => ask('http://127.0.0.1:MIRROR/npm/evil', 'PUT', code => end(code != 403), 'secrets'))
tries('no mirror', end => ask('http://127.0.0.1:MIRROR/npm/tools', 'GET', code => end(code != 200)))
for (const p of ['/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger']) tries('write ' + p, end => { fs.writeFileSync(p, 'x'); end(true) })
tries('mount', end => end(child.spawnSync('mount', ['-t', 'tmpfs', 'x', '/mnt']).status === 0))
tries('unshare', end => end(child.spawnSync('unshare', ['-Ur', 'true']).status === 0))
tries('environment', end => end(Object.keys(process.env).some(k => k.includes('SECRET'))))
child.spawn('sleep', ['98765'], {detached: true, stdio: 'ignore'}).unref()
Promise.all(wait).then(() => { console.log('GOT', got); if (got.length) process.exit(1); MORE })
`

// hostilePackage is hostileInstall for npm.
func hostilePackage(t *testing.T, s *stack.Stack, r *registry) {
	w := watch(t)
	asked := len(r.asked)
	for i, tc := range []struct{ more, want string }{
		{"", ""},
		{"setInterval(() => {}, 1000)", "its limit"},
		{"for (;;) try { fs.writeSync(2, 'x'.repeat(60000)) } catch (e) {}", "its limit"},
		{"for (;;) fs.appendFileSync('/var/x', Buffer.alloc(1 << 20))", "exit code"},
	} {
		version := fmt.Sprintf("1.0.%d", i)
		r.publish(t, "evil", version, map[string]string{"evil.js": w.replacer(r.Server.URL, tc.more).Replace(malice)}, object{"scripts": object{"preinstall": "node evil.js"}})
		args := []string{"--npm-registry", r.url(), "--build-disk", "64MiB", "--build-memory", "512MiB"}
		if i == 1 {
			args = append(args, "--build-time", "5s")
		}
		b, err := buildEnv(t, s, "evil", "x.json", `{"npm":["evil@`+version+`"]}`, args...)
		if tc.want == "" {
			require.NoError(t, err)
			require.NotEmpty(t, b.Environment)
		} else {
			require.ErrorContains(t, err, tc.want, tc.more)
		}
	}
	for _, a := range r.asked[asked:] {
		require.Regexp(t, `^GET /npm/(tools|evil|evil/-/evil-1\.0\.\d\.tgz)$`, a)
	}
	w.nothingLeft(t)
}
