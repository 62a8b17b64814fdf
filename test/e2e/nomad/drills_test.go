package nomad

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// drills is what happens to a cluster, by name, in the words of the operator's guide.
type drills struct {
	c *Cluster
	d *Deployment
}

// cli runs nomad, as an operator does.
func (d *Deployment) cli(t *testing.T, args ...string) {
	t.Helper()
	_, err := d.Agent.CLI(args...)
	require.NoError(t, err)
}

func (x drills) kill(t *testing.T, alloc string) {
	_, err := x.d.Agent.CLI("alloc", "signal", "-s", "SIGKILL", alloc)
	if err != nil { // the task's end may be quicker than the answer that it was signalled
		require.ErrorContains(t, err, "error reading from server: EOF")
	}
}

func (x drills) workerKilled() drill {
	return drill{name: "kill -9 of a worker", do: func(t *testing.T) { x.kill(t, x.d.running(t, "prairie-worker")[0].ID) }}
}

func (x drills) workersKilled() drill {
	return drill{name: "kill -9 of every worker at once", do: func(t *testing.T) {
		for _, w := range x.d.running(t, "prairie-worker") {
			x.kill(t, w.ID)
		}
	}}
}

func (x drills) workerStopped() drill {
	return drill{name: "stop of a worker's allocation", do: func(t *testing.T) {
		stopped := x.d.running(t, "prairie-worker")[0].ID
		x.d.cli(t, "alloc", "stop", "-detach", stopped)
		require.NoError(t, Await(t.Context(), "another allocation", func() error {
			for _, al := range x.d.running(t, "prairie-worker") {
				if al.ID == stopped {
					return fmt.Errorf("%s runs", al.ID)
				}
			}
			return nil
		}))
	}}
}

func (x drills) chunkfsKilled() drill {
	return drill{name: "kill -9 of chunkfs", do: func(t *testing.T) {
		n := x.c.clients()[0]
		before := serverOf(t, x.d, n)
		require.NoError(t, syscall.Kill(before, syscall.SIGKILL))
		require.NotEqual(t, before, serverOf(t, x.d, n), "the status waits for the next server")
	}}
}

func (x drills) gatewayKilled() drill {
	return drill{name: "kill -9 of a gateway", seen: true, do: func(t *testing.T) { x.kill(t, x.d.running(t, "prairie-scheduler")[0].ID) }}
}

func (x drills) leaderKilled(away time.Duration) drill {
	return drill{name: fmt.Sprintf("kill -9 of the leader, back after %.0f s", away.Seconds()), do: func(t *testing.T) {
		leader, err := x.d.Agent.Client.Status().Leader()
		require.NoError(t, err)
		for _, n := range x.c.Nodes[:3] {
			if strings.HasPrefix(leader, n.IP+":") {
				n.Agent.Stop(syscall.SIGKILL)
				time.Sleep(away)
				require.NoError(t, n.Agent.Start())
			}
		}
		require.NoError(t, x.d.Agent.Ready(t.Context(), 2))
	}}
}

// next is another release: the same programs, of which cmp sees that chunkfs is another one.
func (x drills) next(t *testing.T) {
	next := x.d.Bin + "-next"
	require.NoError(t, os.CopyFS(next, os.DirFS(x.d.Bin)))
	f, err := os.OpenFile(filepath.Join(next, "chunkfs"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("next")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	x.d.Bin = next
}

// allUpdated updates chunkfs and workers at once, and is over when nothing old runs.
func (x drills) allUpdated(settle string) drill {
	return drill{name: "update of chunkfs and workers at once", do: func(t *testing.T) {
		servers, workers := map[int]bool{}, map[string]bool{}
		for _, n := range x.c.clients() {
			servers[serverOf(t, x.d, n)] = true
		}
		for _, al := range x.d.running(t, "prairie-worker") {
			workers[al.ID] = true
		}
		x.next(t)
		x.d.Settle = settle
		for _, spec := range []string{"chunkfs", "worker"} {
			require.NoError(t, x.d.Run(spec))
		}
		require.NoError(t, Await(t.Context(), "the new release alone", func() error {
			for _, n := range x.c.clients() {
				if pid := serverOf(t, x.d, n); servers[pid] {
					return fmt.Errorf("%d serves %s", pid, n.Name)
				}
			}
			live := x.d.running(t, "prairie-worker")
			for _, al := range live {
				if workers[al.ID] {
					return fmt.Errorf("%s runs still", al.ID)
				}
			}
			if len(live) != x.d.Workers {
				return fmt.Errorf("%d run", len(live))
			}
			return nil
		}))
	}}
}
