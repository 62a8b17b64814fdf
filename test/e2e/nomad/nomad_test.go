package nomad

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"

	specs "github.com/prairielambda/prairielambda/nomad"
	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/e2e/stack"
	"github.com/prairielambda/prairielambda/test/machine"
)

// start returns the server of a server and a client, with nothing deployed.
func start(t *testing.T) *Agent {
	t.Helper()
	machine.Root(t)
	program, err := Program(os.Getenv("REQUIRE_ALL") == "1")
	if err != nil {
		machine.Skip(t, "make nomad-agent builds the agent that is missing: %v", err)
	}
	// Not t.TempDir: allocations leave mounts there, which Sweep takes away, and
	// the path of their sockets must stay below 108 bytes.
	dir, err := os.MkdirTemp("", "pl-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	secret, err := NewSecret()
	require.NoError(t, err)
	require.NoError(t, Plugin(dir))
	var agents []*Agent
	t.Cleanup(func() {
		if t.Failed() {
			for _, a := range agents {
				t.Log(a.tails())
			}
		}
		if len(agents) > 0 {
			if err := agents[0].StopJobs(context.Background()); err != nil {
				t.Errorf("%v", err)
			}
		}
		for i := len(agents) - 1; i >= 0; i-- {
			agents[i].Stop(syscall.SIGINT)
		}
		require.NoError(t, Sweep(dir))
	})
	launch := func(name string, change func(*AgentConfig)) *Agent {
		cfg, err := Loopback(program, filepath.Join(dir, name))
		require.NoError(t, err)
		cfg.Secret, cfg.Plugins = secret, filepath.Join(dir, "plugins")
		change(&cfg)
		a, err := NewAgent(cfg)
		require.NoError(t, err)
		require.NoError(t, a.Start())
		agents = append(agents, a)
		return a
	}
	var rpc string
	server := launch("server", func(c *AgentConfig) { c.Server, rpc = true, fmt.Sprintf("127.0.0.1:%d", c.Ports[1]) })
	require.NoError(t, server.Led(t.Context()))
	launch("client", func(c *AgentConfig) { c.Client, c.Join = true, []string{rpc} })
	require.NoError(t, server.Ready(t.Context(), 1))
	return server
}

// tails are the ends of all logs.
func (a *Agent) tails() string {
	var b strings.Builder
	logs, _ := filepath.Glob(filepath.Join(a.Dir, "data/alloc/*/alloc/logs/*.std*.0"))
	for _, f := range append(logs, a.Log()) {
		text, _ := os.ReadFile(f)
		fmt.Fprintf(&b, "-- %s\n%s\n", strings.TrimPrefix(f, a.Dir), text[max(0, len(text)-1500):])
	}
	return b.String()
}

// deploy deploys all that answers calls and returns the first gateway.
func deploy(t *testing.T, a *Agent) (*Deployment, string) {
	t.Helper()
	dir := filepath.Dir(a.Dir)
	bin, err := stack.Build(dir, "syncer", "chunkfs", "worker", "scheduler")
	require.NoError(t, err)
	d := &Deployment{Agent: a, Bin: bin, Dir: dir, Workers: 2, Gates: 1}
	require.NoError(t, d.Policies())
	require.NoError(t, d.Keys())
	require.NoError(t, d.Push("sample", withProbe(t, course.Sample(t).Dir)))
	for _, spec := range Specs {
		require.NoError(t, d.Run(spec))
	}
	gateways, err := d.Serving(t.Context())
	require.NoError(t, err)
	return d, gateways[0]
}

// send posts to a gateway.
func (d *Deployment) send(gateway, path string, body []byte) (status int, answer string, err error) {
	return d.request(http.MethodPost, gateway+path, "", body)
}

// request asks under an id, or under none.
func (d *Deployment) request(method, url, id string, body []byte) (status int, answer string, err error) {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+d.Secret)
	if id != "" {
		req.Header.Set("Prairie-Id", id)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// ask asks the cubic question once, as the platform would.
func (d *Deployment) ask(gateway string, seed int) (string, error) {
	body := fmt.Sprintf(`{"method":"generate","data":{"params":{},"variant_seed":%d}}`, seed)
	status, answer, err := d.send(gateway, "/courses/sample/current/question/calculus/derivatives/cubic", []byte(body))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d: %s", status, answer)
	}
	return answer, err
}

// load calls until end, which returns how many calls were answered; a call that
// fails fails the test.
func (d *Deployment) load(t *testing.T, gateway string) (answered *atomic.Int64, end func()) {
	answered = new(atomic.Int64)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			for seed := i; ; seed += 2 {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
				if _, err := d.ask(gateway, seed); err != nil {
					t.Errorf("call %d: %v", seed, err)
				}
				answered.Add(1)
			}
		})
	}
	return answered, sync.OnceFunc(func() { close(stop); wg.Wait() })
}

// more waits for n more answers.
func more(t *testing.T, answered *atomic.Int64, n int64) {
	t.Helper()
	want := answered.Load() + n
	require.NoError(t, Await(t.Context(), "answers", func() error {
		if got := answered.Load(); got < want {
			return fmt.Errorf("%d of %d", got, want)
		}
		return nil
	}))
}

func (d *Deployment) running(t *testing.T, job string) []*api.AllocationListStub {
	t.Helper()
	list, _, err := d.Agent.Client.Jobs().Allocations(job, false, nil)
	require.NoError(t, err)
	var live []*api.AllocationListStub
	for _, al := range list {
		if al.ClientStatus == "running" && al.DesiredStatus == "run" {
			live = append(live, al)
		}
	}
	return live
}

func takesEverySpecification(t *testing.T, a *Agent) {
	d := &Deployment{Agent: a, Bin: "/opt/prairielambda/bin", Dir: "/var/lib/prairielambda", Workers: 2, Gates: 1}
	names, err := fs.Glob(specs.Files, "*.nomad.hcl")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		args := d.Vars(strings.TrimSuffix(name, ".nomad.hcl"))
		out, err := a.CLI(append([]string{"job", "validate"}, args...)...)
		require.NoError(t, err)
		require.NotContains(t, out, "Warning", name)
		out, err = a.CLI(append([]string{"job", "plan"}, args...)...)
		require.ErrorContains(t, err, "exit status 1", "1 means: allocations would be made\n%s", out)
		require.NotContains(t, strings.ToLower(out), "warning", name)
		require.NotContains(t, out, "Failed to place", name)
		_, err = a.CLI("fmt", "-check", name)
		require.NoError(t, err, "nomad fmt %s", name)
	}
}

func TestDeployedByNomadCallsSurviveItsWorkers(t *testing.T) {
	a := start(t)
	t.Run("it takes every specification", func(t *testing.T) { takesEverySpecification(t, a) })
	d, gateway := deploy(t, a)
	first, err := d.ask(gateway, 42)
	require.NoError(t, err)
	require.Contains(t, first, `"variant_seed":42`)
	for _, spec := range Specs {
		out, err := a.CLI(append([]string{"job", "plan"}, d.Vars(spec)...)...)
		require.NoError(t, err, "a plan of what runs changes nothing:\n%s", out)
	}
	t.Run("the gateway's token does what its policy says and no more", func(t *testing.T) { gatewaysTokenDoesItsPolicyAndNoMore(t, d) })
	t.Run("no sandbox sees Nomad", func(t *testing.T) { noSandboxSeesNomad(t, d, gateway) })
	t.Run("jobs mount courses as volumes", func(t *testing.T) { jobsMountCoursesAsVolumes(t, d) })
	t.Run("a warm call against a dispatch", func(t *testing.T) { warmAgainstDispatch(t, d, gateway, 100, 5) })

	t.Run("long runs are jobs of their own", func(t *testing.T) { longRunsAreJobsOfTheirOwn(t, d, gateway) })
	t.Run("graders are jobs of their own", func(t *testing.T) { gradersAreJobsOfTheirOwn(t, d, gateway) })

	answered, end := d.load(t, gateway)
	defer end()
	more(t, answered, 10)
	serving := func() {
		t.Helper()
		_, err := d.Serving(t.Context())
		require.NoError(t, err)
		more(t, answered, 10)
	}

	t.Run("an allocation is stopped", func(t *testing.T) {
		stopped := d.running(t, "prairie-worker")[0]
		_, err := a.CLI("alloc", "stop", "-detach", stopped.ID)
		require.NoError(t, err)
		require.NoError(t, Await(t.Context(), "another allocation", func() error {
			for _, al := range d.running(t, "prairie-worker") {
				if al.ID == stopped.ID {
					return fmt.Errorf("%s runs", al.ID)
				}
			}
			return nil
		}))
		serving()
	})
	kill := func(t *testing.T, alloc *api.AllocationListStub) {
		t.Helper()
		_, err := a.CLI("alloc", "signal", "-s", "SIGKILL", alloc.ID)
		if err != nil { // the task's end may be quicker than the answer that it was signalled
			require.ErrorContains(t, err, "error reading from server: EOF")
		}
	}
	t.Run("a worker is killed", func(t *testing.T) {
		kill(t, d.running(t, "prairie-worker")[0])
		serving()
	})
	t.Run("every worker is killed", func(t *testing.T) {
		for _, worker := range d.running(t, "prairie-worker") {
			kill(t, worker)
		}
		serving()
	})
	t.Run("chunkfs is upgraded and killed", func(t *testing.T) {
		old := d.Bin
		d.Bin = filepath.Join(d.Dir, "next")
		require.NoError(t, os.CopyFS(d.Bin, os.DirFS(old)))
		f, err := os.OpenFile(filepath.Join(d.Bin, "chunkfs"), os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteString("next") // another program, as far as cmp can tell
		require.NoError(t, err)
		require.NoError(t, f.Close())
		before := serverOf(t, d.Mount())
		require.NoError(t, d.Run("chunkfs"))
		require.NoError(t, Await(t.Context(), "another server", func() error {
			if serverOf(t, d.Mount()) == before {
				return fmt.Errorf("%d serves", before)
			}
			return nil
		}))
		serving()
		before = serverOf(t, d.Mount())
		require.NoError(t, syscall.Kill(before, syscall.SIGKILL))
		require.NotEqual(t, before, serverOf(t, d.Mount()), "the status waits for the next server")
		serving()
	})
	t.Run("workers are updated by canary", func(t *testing.T) {
		old := map[string]bool{}
		for _, al := range d.running(t, "prairie-worker") {
			old[al.ID] = true
		}
		require.NoError(t, d.Run("worker"))
		require.NoError(t, Await(t.Context(), "the new version alone", func() error {
			live := d.running(t, "prairie-worker")
			for _, al := range live {
				if old[al.ID] {
					return fmt.Errorf("%s runs still", al.ID)
				}
			}
			if len(live) != d.Workers {
				return fmt.Errorf("%d run", len(live))
			}
			return nil
		}))
		serving()
	})
	end()
	t.Logf("%d calls", answered.Load())
}

// serverOf is the process that serves a mount.
func serverOf(t *testing.T, mount string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(mount, ".chunkfs/status"))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if _, rest, ok := strings.Cut(line, "(process "); ok {
			var pid int
			_, err := fmt.Sscanf(rest, "%d", &pid)
			require.NoError(t, err)
			return pid
		}
	}
	t.Fatalf("no pid in %s", b)
	return 0
}
