//go:build cluster

package nomad

import (
	"context"
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
	body := fmt.Sprintf(`{"method":"generate","data":{"params":{},"variant_seed":%d}}`, seed)
	req, err := http.NewRequest(http.MethodPost, gateway+"/courses/sample/current/question/calculus/derivatives/cubic", strings.NewReader(body))
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
	c, err := NewCluster(program, dir)
	require.NoError(t, err)
	require.NoError(t, c.Start(ctx))
	d, gateways, err := c.Deploy(ctx, bin, course.Sample(t).Dir)
	require.NoError(t, err)
	p := &platform{d: d, gateways: gateways, client: http.Client{Timeout: 20 * time.Second}}
	require.NoError(t, p.once(gateways[0], 1))

	stop := make(chan struct{})
	wait := p.load(stop)
	defer wait()
	defer close(stop)
	time.Sleep(3 * time.Second)
	p.take()
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
	cli := func(args ...string) {
		_, err := d.Agent.CLI(args...)
		require.NoError(t, err)
	}
	kill := func(job string) { cli("alloc", "signal", "-s", "SIGKILL", d.running(t, job)[0].ID) }

	var table strings.Builder
	for _, drill := range []struct {
		name string
		do   func()
	}{
		{"nothing", func() {}},
		{"stop of a worker's allocation", func() { cli("alloc", "stop", "-detach", d.running(t, "prairie-worker")[0].ID) }},
		{"kill -9 of a worker", func() { kill("prairie-worker") }},
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
		{"a client cut off for 20 s", func() {
			require.NoError(t, client(1).Cable(false))
			time.Sleep(20 * time.Second)
			require.NoError(t, client(1).Cable(true))
			require.NoError(t, d.Agent.Ready(ctx, 2))
		}},
		{"drain of a client, and its return", func() {
			id := nodeID(client(0))
			cli("node", "drain", "-enable", "-yes", "-deadline", "2m", id)
			cli("node", "drain", "-disable", "-yes", id)
		}},
		{"canary update of workers", func() {
			next := filepath.Join(dir, "next")
			require.NoError(t, os.CopyFS(next, os.DirFS(bin)))
			d.Bin = next
			cli(append([]string{"job", "run"}, d.Vars("worker")...)...) // watches the deployment to its end
		}},
		{"upgrade of chunkfs, client by client", func() {
			f, err := os.OpenFile(filepath.Join(d.Bin, "chunkfs"), os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteString("next") // another program, as far as cmp can tell
			require.NoError(t, err)
			require.NoError(t, f.Close())
			cli(append([]string{"job", "run"}, d.Vars("chunkfs")...)...)
		}},
	} {
		t.Run(drill.name, func(t *testing.T) {
			start := time.Now()
			drill.do()
			_, err := d.Serving(ctx)
			require.NoError(t, err)
			whole := time.Since(start)
			time.Sleep(5 * time.Second) // calls that the drill hit end, and more are made after it
			answered, again, failed, longest := p.take()
			fmt.Fprintf(&table, "| %s | %d | %d | %d | %.1f s | %.0f s |\n", drill.name, answered, again, len(failed), longest.Seconds(), whole.Seconds())
			require.Empty(t, failed)
		})
	}
	t.Logf("\n| drill | calls | tried again by the caller | failed | longest call | all serving again after |\n|---|---|---|---|---|---|\n%s", table.String())
}
