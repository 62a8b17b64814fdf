//go:build cluster

package nomad

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

// platform calls like a platform that knows every gateway: one that refuses the
// connection, drops it or answers 429 or 5xx is left for the next one, and after
// a round of them it rests, for patience in all.
type platform struct {
	d        *Deployment
	gateways []string
	client   http.Client

	mu       sync.Mutex // guards what follows
	answered int
	again    int // tries after a call's first
	failed   []error
	longest  time.Duration
}

const patience = time.Minute

func (p *platform) call(seed int) {
	start, again := time.Now(), 0
	err := p.once(p.gateways[seed%len(p.gateways)], seed)
	for err != nil && time.Since(start) < patience {
		again++
		if again%len(p.gateways) == 0 {
			time.Sleep(500 * time.Millisecond)
		}
		err = p.once(p.gateways[(seed+again)%len(p.gateways)], seed)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered++
	p.again += again
	p.longest = max(p.longest, time.Since(start))
	if err != nil {
		p.failed = append(p.failed, err)
	}
}

// errAnswer marks what a gateway said, apart from one that could not be reached.
var errAnswer = errors.New("answer")

func (p *platform) once(gateway string, seed int) error {
	path, body := mixed(seed)
	req, err := http.NewRequest(http.MethodPost, gateway+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.d.Secret)
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w of %s: %s: %s", errAnswer, gateway, resp.Status, b)
	}
	return nil
}

// mixed is one of what platforms ask: mostly questions, now and then a whole
// phase, and a program.
func mixed(seed int) (path, body string) {
	data := fmt.Sprintf(`{"params":{},"variant_seed":%d}`, seed)
	cubic := "/question/calculus/derivatives/cubic"
	switch seed % 20 {
	case 7:
		return "/run", `{"runtime":"bash","files":[{"basename":"main.sh","contents":"echo $((6 * 7))"}]}`
	case 3, 13:
		return "/courses/sample/current" + strings.Replace(cubic, "question", "process", 1), `{"method":"generate","data":` + data + `}`
	}
	return "/courses/sample/current" + cubic, `{"method":"generate","data":` + data + `}`
}

// load calls 20 times a second until stop is closed, and less often where the
// machine is slower than that: no more than 8 calls wait at once.
func (p *platform) load(stop chan struct{}) (wait func()) {
	var wg sync.WaitGroup
	seeds := make(chan int)
	wg.Go(func() {
		defer close(seeds)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for seed := 0; ; seed++ {
			select {
			case <-stop:
				return
			case <-tick.C:
				seeds <- seed
			}
		}
	})
	for range 8 {
		wg.Go(func() {
			for seed := range seeds {
				p.call(seed)
			}
		})
	}
	return wg.Wait
}

// take returns the figures since the last take.
func (p *platform) take() (answered, again int, failed []error, longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answered, again, failed, longest = p.answered, p.again, p.failed, p.longest
	p.answered, p.again, p.failed, p.longest = 0, 0, nil, 0
	return
}

// runLong starts a long run and returns a function that follows it to its end,
// and fails unless it ran once and whole.
func (p *platform) runLong(seconds int) (finish func() error, err error) {
	program := submission(fmt.Sprintf("import time, uuid\nme = uuid.uuid4()\nfor i in range(%d):\n    print(i, me, flush=True)\n    time.sleep(1)\nprint('end', me)", seconds))
	id, run := rand.Text(), ""
	for i := range 40 { // as calls: the next gateway, under the same id
		if run, err = p.d.begin(p.gateways[i%len(p.gateways)], id, program); err == nil {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	if err != nil {
		return nil, fmt.Errorf("start a long run: %w", err)
	}
	return func() error {
		o, err := p.d.follow(p.gateways, run, 3*time.Minute)
		if err != nil {
			return err
		}
		var me string
		for i, line := range o.Lines {
			n, who, _ := strings.Cut(line, " ")
			if i == 0 {
				me = who
			}
			want := fmt.Sprint(i)
			if i == seconds {
				want = "end"
			}
			if n != want || who != me {
				return fmt.Errorf("line %d of a long run: %q", i, line)
			}
		}
		if len(o.Lines) != seconds+1 || o.Status != 0 {
			return fmt.Errorf("a long run ended with %d after %d lines: %s", o.Status, len(o.Lines), o.Message)
		}
		return nil
	}, nil
}

// part is what to play: all of it, some of the parts below, or what fits the time
// of continuous integration.
var part = os.Getenv("DRILLS")

const short = "short"

func TestDrills(t *testing.T) {
	ctx := t.Context()
	program, err := Program(true)
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "pl-")
	require.NoError(t, err)
	require.NoError(t, os.Remove(dir))
	bin, err := stack.Build(t.TempDir(), "syncer", "chunkfs", "worker", "scheduler")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, Down(context.Background(), dir)) })
	begin := time.Now()
	c, err := NewCluster(program, dir)
	require.NoError(t, err)
	require.NoError(t, c.Start(ctx))
	formed := time.Since(begin)
	d, gateways, err := c.Deploy(ctx, bin, course.Sample(t).Dir)
	require.NoError(t, err)
	p := &platform{d: d, gateways: gateways, client: http.Client{Timeout: 20 * time.Second}}
	require.NoError(t, p.once(gateways[0], 1))
	t.Logf("cluster formed after %.0f s, first question answered after %.0f s", formed.Seconds(), time.Since(begin).Seconds())
	for _, spec := range Specs {
		out, err := d.Agent.CLI(append([]string{"job", "plan"}, d.Vars(spec)...)...)
		require.NoError(t, err, "a plan of what runs changes nothing:\n%s", out)
	}

	for _, one := range []struct {
		name string
		play func(*testing.T, *Cluster, *platform)
	}{{"drills", drills}, {"updates", updates}, {"scaling", scaling}, {"flood", flood}} {
		if part == "" || strings.Contains(part, one.name) || part == short && one.name == "drills" {
			t.Run(one.name, func(t *testing.T) { one.play(t, c, p) })
		}
	}
}

// drill is one thing that happens to a cluster.
type drill struct {
	name string
	do   func()
}

// play does each under load and prints what callers saw of it.
func play(t *testing.T, p *platform, all []drill) {
	stop := make(chan struct{})
	wait := p.load(stop)
	defer wait()
	defer close(stop)
	time.Sleep(3 * time.Second)
	p.take()
	var table strings.Builder
	for _, drill := range all {
		t.Run(drill.name, func(t *testing.T) {
			var finish []func() error
			for range 2 {
				f, err := p.runLong(8)
				require.NoError(t, err)
				finish = append(finish, f)
			}
			start := time.Now()
			drill.do()
			_, err := p.d.Serving(t.Context())
			require.NoError(t, err)
			whole := time.Since(start)
			for _, f := range finish {
				require.NoError(t, f(), "a long run is neither lost nor run twice")
			}
			time.Sleep(3 * time.Second) // calls that the drill hit end, and more are made after it
			answered, again, failed, longest := p.take()
			fmt.Fprintf(&table, "| %s | %d | %d | %d | %.1f s | %.0f s |\n", drill.name, answered, again, len(failed), longest.Seconds(), whole.Seconds())
			require.Empty(t, failed)
		})
	}
	t.Logf("\n| drill | calls | tried again by the caller | failed | longest call | all serving again after |\n|---|---|---|---|---|---|\n%s", table.String())
}

// cli runs nomad, as an operator does.
func (d *Deployment) cli(t *testing.T, args ...string) {
	t.Helper()
	_, err := d.Agent.CLI(args...)
	require.NoError(t, err)
}

func drills(t *testing.T, c *Cluster, p *platform) {
	ctx, d := t.Context(), p.d
	client := func(i int) *Node { return c.Nodes[3+i] }
	nodeID := func(n *Node) string {
		list, _, err := d.Agent.Client.Nodes().List(nil)
		require.NoError(t, err)
		for _, node := range list {
			if node.Name == n.Name {
				return node.ID
			}
		}
		t.Fatalf("no node %s", n.Name)
		return ""
	}
	kill := func(job string) { d.cli(t, "alloc", "signal", "-s", "SIGKILL", d.running(t, job)[0].ID) }
	all := []drill{
		{"nothing", func() {}},
		{"kill -9 of a worker", func() { kill("prairie-worker") }},
		{"kill -9 of the leader, back after 10 s", func() {
			leader, err := d.Agent.Client.Status().Leader()
			require.NoError(t, err)
			for _, n := range c.Nodes[:3] {
				if strings.HasPrefix(leader, n.IP+":") {
					n.Agent.Stop(syscall.SIGKILL)
					time.Sleep(10 * time.Second)
					require.NoError(t, n.Agent.Start())
				}
			}
			require.NoError(t, d.Agent.Ready(ctx, 2))
		}},
		{"stop of a worker's allocation", func() { d.cli(t, "alloc", "stop", "-detach", d.running(t, "prairie-worker")[0].ID) }},
		{"kill -9 of chunkfs", func() {
			out, err := client(0).Inside("cat", d.Mount()+"/.chunkfs/status")
			require.NoError(t, err)
			var pid int
			_, rest, _ := strings.Cut(out, "(process ")
			_, err = fmt.Sscanf(rest, "%d", &pid)
			require.NoError(t, err)
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		}},
		{"kill -9 of a mount's holder", func() { kill("prairie-chunkfs-holder") }},
		{"kill -9 of a gateway", func() { kill("prairie-scheduler") }},
		{"kill -9 of a client agent, back after 5 s", func() {
			client(0).Agent.Stop(syscall.SIGKILL)
			time.Sleep(5 * time.Second)
			require.NoError(t, client(0).Agent.Start())
			require.NoError(t, d.Agent.Ready(ctx, 2))
		}},
		{"a client cut off for 20 s", func() {
			require.NoError(t, client(1).Cable(false))
			time.Sleep(20 * time.Second)
			require.NoError(t, client(1).Cable(true))
			require.NoError(t, d.Agent.Ready(ctx, 2))
		}},
		{"drain of a client, and its return", func() {
			id := nodeID(client(0))
			d.cli(t, "node", "drain", "-enable", "-yes", "-deadline", "2m", id)
			d.cli(t, "node", "drain", "-disable", "-yes", id)
		}},
	}
	if part == short {
		all = all[:3]
	}
	play(t, p, all)
}

func updates(t *testing.T, c *Cluster, p *platform) {
	d := p.d
	play(t, p, []drill{
		{"canary update of workers", func() {
			next := filepath.Join(c.Dir, "next")
			require.NoError(t, os.CopyFS(next, os.DirFS(d.Bin)))
			d.Bin = next
			d.cli(t, append([]string{"job", "run"}, d.Vars("worker")...)...) // watches the deployment to its end
		}},
		{"upgrade of chunkfs, client by client", func() {
			f, err := os.OpenFile(filepath.Join(d.Bin, "chunkfs"), os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteString("next") // another program, as far as cmp can tell
			require.NoError(t, err)
			require.NoError(t, f.Close())
			d.cli(t, append([]string{"job", "run"}, d.Vars("chunkfs")...)...)
		}},
	})
}
