//go:build cluster

package nomad

import (
	"os"
	"strings"
	"testing"
	"time"

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
		{"scaling", func(t *testing.T) { scaling(t, c, p) }},
		{"flood", func(t *testing.T) { flood(t, c, p) }},
	} {
		if part == "" || strings.Contains(part, one.name) {
			t.Run(one.name, one.play)
		}
	}
}
