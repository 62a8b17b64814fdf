//go:build cluster

package nomad

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
)

// part is what to play, all of it or some of the parts below.
var part = os.Getenv("DRILLS")

func TestDrills(t *testing.T) {
	c, bin := cluster(t)
	p := serve(t, c, bin, course.Sample(t).Dir)
	x := drills{c, p.d}
	for _, one := range []struct {
		name string
		play func(*testing.T)
	}{
		{"warm", func(t *testing.T) { warmAgainstDispatch(t, p.d, p.gateways[0], 200, 10) }},
		{"drills", func(t *testing.T) {
			p.play(t, 0, []drill{
				x.nothing(), x.workerKilled(), x.workersKilled(), x.leaderKilled(10 * time.Second), x.workerStopped(),
				x.chunkfsKilled(), x.holderKilled(), x.gatewayKilled(), x.agentKilled(5 * time.Second), x.partitioned(20 * time.Second), x.drained(),
			})
		}},
		{"updates", func(t *testing.T) { p.play(t, 0, []drill{x.workersUpdated(), x.chunkfsUpgraded()}) }},
		{"upkeep", func(t *testing.T) { p.play(t, 0, x.upkeep()) }},
		{"scaling", func(t *testing.T) { scaling(t, c, p) }},
		{"flood", func(t *testing.T) { flood(t, c, p) }},
	} {
		if part == "" || strings.Contains(part, one.name) {
			t.Run(one.name, one.play)
		}
	}
}

func (x drills) nothing() drill { return drill{name: "nothing", do: func(t *testing.T) {}} }

func (x drills) holderKilled() drill {
	return drill{name: "kill -9 of a mount's holder", do: func(t *testing.T) { x.kill(t, x.d.running(t, "prairie-chunkfs-holder")[0].ID) }}
}

func (x drills) agentKilled(away time.Duration) drill {
	return drill{name: fmt.Sprintf("kill -9 of a client agent, back after %.0f s", away.Seconds()), do: func(t *testing.T) {
		a := x.c.clients()[0].Agent
		a.Stop(syscall.SIGKILL)
		time.Sleep(away)
		require.NoError(t, a.Start())
		require.NoError(t, x.d.Agent.Ready(t.Context(), 2))
	}}
}

func (x drills) partitioned(away time.Duration) drill {
	return drill{name: fmt.Sprintf("a client cut off for %.0f s", away.Seconds()), seen: true, do: func(t *testing.T) {
		n := x.c.clients()[1]
		require.NoError(t, n.Cable(false))
		time.Sleep(away)
		require.NoError(t, n.Cable(true))
		require.NoError(t, x.d.Agent.Ready(t.Context(), 2))
	}}
}

func (x drills) drained() drill {
	return drill{name: "drain of a client, and its return", seen: true, do: func(t *testing.T) {
		list, _, err := x.d.Agent.Client.Nodes().List(nil)
		require.NoError(t, err)
		for _, node := range list {
			if node.Name == x.c.clients()[0].Name {
				x.d.cli(t, "node", "drain", "-enable", "-yes", "-deadline", "2m", node.ID)
				x.d.cli(t, "node", "drain", "-disable", "-yes", node.ID)
			}
		}
	}}
}

// run deploys, and watches the deployment to its end.
func (x drills) run(t *testing.T, spec string) {
	x.d.cli(t, append([]string{"job", "run"}, x.d.Vars(spec)...)...)
}

func (x drills) workersUpdated() drill {
	return drill{name: "canary update of workers", do: func(t *testing.T) { x.next(t); x.run(t, "worker") }}
}

func (x drills) chunkfsUpgraded() drill {
	return drill{name: "upgrade of chunkfs, client by client", do: func(t *testing.T) {
		before := serverOf(t, x.d, x.c.clients()[0])
		x.next(t)
		x.run(t, "chunkfs")
		require.NotEqual(t, before, serverOf(t, x.d, x.c.clients()[0]))
	}}
}
