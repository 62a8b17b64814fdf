//go:build cluster

package nomad

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"
)

// scaling lets the gateways scale workers from none and back to none.
func scaling(t *testing.T, _ *Cluster, p *platform) {
	d := p.d
	d.Least, d.Most, d.Quiet = 0, 4, "15s"
	for _, spec := range []string{"worker", "scheduler"} {
		d.cli(t, append([]string{"job", "run"}, d.Vars(spec)...)...)
	}
	count := func() int {
		job, _, err := d.Agent.Client.Jobs().Info("prairie-worker", nil)
		require.NoError(t, err)
		return *job.TaskGroups[0].Count
	}
	reach := func(what string, ok func() bool) time.Duration {
		begin := time.Now()
		require.NoError(t, Await(t.Context(), what, func() error {
			if !ok() {
				return fmt.Errorf("%d workers are asked for, %d run", count(), len(d.running(t, "prairie-worker")))
			}
			return nil
		}))
		return time.Since(begin)
	}
	// None is left, also none that finishes its calls.
	none := func() bool {
		list, _, err := d.Agent.Client.Jobs().Allocations("prairie-worker", true, nil)
		require.NoError(t, err)
		return count() == 0 && !slices.ContainsFunc(list, func(a *api.AllocationListStub) bool { return a.ClientStatus == "running" })
	}
	t.Logf("nobody calls: no worker after %.0f s", reach("no workers", none).Seconds())
	p.client.Timeout = time.Minute

	begin := time.Now()
	require.NoError(t, p.once(p.gateways[0], 1))
	t.Logf("the first call found none and was answered after %.1f s", time.Since(begin).Seconds())

	// More calls at once than one worker takes.
	var stop atomic.Bool
	var wg sync.WaitGroup
	var failed atomic.Int64
	for i := range 40 {
		wg.Go(func() {
			for seed := 20 * i; !stop.Load(); seed += 20 {
				if p.once(p.gateways[i%len(p.gateways)], seed) != nil {
					failed.Add(1)
					time.Sleep(time.Second) // 429: the queue is full, which is what it is for
				}
			}
		})
	}
	up := reach("more workers", func() bool { return len(d.running(t, "prairie-worker")) >= 2 })
	t.Logf("a queue: a second worker runs after %.1f s; %d calls were told to come again", up.Seconds(), failed.Load())
	stop.Store(true)
	wg.Wait()
	t.Logf("nobody calls any more: no worker after %.0f s", reach("no workers", none).Seconds())

	// Where others scale, gateways hold the call and say what they want, no more.
	d.Others = true
	d.cli(t, append([]string{"job", "run"}, d.Vars("scheduler")...)...)
	answer := make(chan error)
	go func() { answer <- p.once(p.gateways[0], 1) }()
	figures := func(want ...string) func() bool {
		return func() bool {
			status, b, err := d.request(http.MethodGet, p.gateways[0]+"/metrics", "", nil)
			return err == nil && status == http.StatusOK && !slices.ContainsFunc(want, func(f string) bool { return !strings.Contains(b, "\n"+f+"\n") })
		}
	}
	reach("a call that waits", figures("prairie_gateway_held 1", "prairie_gateway_workers_wanted 1"))
	time.Sleep(3 * time.Second) // as many looks of a scaler
	require.Zero(t, count(), "scaled by nobody")
	_, _, err := d.Agent.Client.Jobs().Scale("prairie-worker", "python", new(1), "as nomad-autoscaler would", false, nil, nil)
	require.NoError(t, err)
	require.NoError(t, <-answer)
	t.Logf("scaled by others, the call that waited is answered")

	d.Others, d.Least, d.Most = false, 0, 0
	for _, spec := range []string{"scheduler", "worker"} { // nobody scales down again what the second asks for
		d.cli(t, append([]string{"job", "run"}, d.Vars(spec)...)...)
	}
	_, err = d.Serving(t.Context())
	require.NoError(t, err)
}

// flood asks for 200 long runs at once. All end, few at a time, and Nomad stays
// as small as it was.
func flood(t *testing.T, c *Cluster, p *platform) {
	const n = 200
	d := p.d
	before := memory(t, c)
	begin := time.Now()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var refused, most int
	var errs []error
	for i := range n {
		wg.Go(func() {
			err := func() error {
				for {
					run, err := d.begin(p.gateways[i%len(p.gateways)], fmt.Sprintf("flood-%d", i), submission(fmt.Sprintf("print(%d)", i)))
					if err != nil && strings.HasPrefix(err.Error(), "429") && time.Since(begin) < 10*time.Minute {
						mu.Lock()
						refused++
						mu.Unlock()
						time.Sleep(2 * time.Second) // Retry-After
						continue
					}
					if err != nil {
						return err
					}
					o, err := d.follow(p.gateways, run, 5*time.Minute)
					if err == nil && (len(o.Lines) != 1 || o.Lines[0] != strconv.Itoa(i)) {
						err = fmt.Errorf("run %d said %v: %s", i, o.Lines, o.Message)
					}
					return err
				}
			}()
			if err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(time.Second):
			s, _, err := d.Agent.Client.Jobs().Summary("prairie-run", nil)
			require.NoError(t, err)
			most = max(most, int(s.Children.Pending+s.Children.Running))
		}
	}
	require.Empty(t, errs)
	evals, _, err := d.Agent.Client.Evaluations().List(nil)
	require.NoError(t, err)
	mine := 0
	for _, e := range evals {
		if strings.HasPrefix(e.JobID, "prairie-run/") {
			mine++
		}
	}
	t.Logf("%d runs in %.0f s: at most %d at once, %d times told to come again; %d evaluations; memory of the servers %v MiB before, %v MiB after",
		n, time.Since(begin).Seconds(), most, refused, mine, before, memory(t, c))
	require.LessOrEqual(t, most, 2*16, "each of two gateways keeps the bound")
	require.LessOrEqual(t, mine, 6*n)
}

// memory is what each server holds, in MiB.
func memory(t *testing.T, c *Cluster) (all []int) {
	t.Helper()
	for _, n := range c.Nodes[:3] {
		procs, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.Agent.Pid()))
		require.NoError(t, err)
		_, rest, _ := strings.Cut(string(procs), "VmRSS:")
		var kib int
		_, err = fmt.Sscan(rest, &kib)
		require.NoError(t, err)
		all = append(all, kib>>10)
	}
	return all
}
