//go:build weaken

package attacks

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
	"github.com/prairielambda/prairielambda/test/machine"
)

// destructive are attacks that would hurt this machine where a layer is missing.
var destructive = []string{
	"kill_everyone", "kill_group", "kill_zygote", "stop_zygote", "fork_bomb", "thread_bomb", "vfork_storm", "reboot", "sysrq", "kexec",
	"set_clock", "adjust_clock", "any_egress", "dns", "dns_raw", "metadata", "multicast", "anonymous_memory", "deep_recursion_without_limit",
	"memory_in_children", "shared_anonymous_memory", "unknown_numbers", "flood_the_result", "loopback_up",
	"busy_children", "ignore_all_and_linger", "grandchild_holds_stdout", "stopped_grandchild", "renice_user",
}

// Limits have no second layer: without them the attack gets what it asks for.
func TestEachLimitMatters(t *testing.T) {
	machine.Root(t)
	w := newWorld(t)
	for layer, name := range map[string]string{"memory cgroup": "hold_too_much_memory", "pids cgroup": "process_limit"} {
		a := attack{"resources", name}
		strong, weak := newPool(t, w, hostConfig(), -1), newPool(t, w, hostConfig().Without(layer), -1)
		require.True(t, wants[name](attempt(t, w, strong, a, nil)), name)
		r, err := try(t, w, weak, a, nil)
		require.False(t, err == nil && wants[name](r), "%s does not depend on the %s: %s", name, layer, r.raw)
	}
}

// TestEachLayerMatters leaves one layer out at a time and prints which attacks
// then come further than they may: the table in jobs/sandbox/README.md. Where
// two layers stop the same attack neither shows alone, so each is left out together
// with the one that stands before it too, and what only then comes through is told.
//
//	go test -tags weaken -run TestEachLayerMatters -v ./test/attacks
func TestEachLayerMatters(t *testing.T) {
	machine.Root(t)
	w := newWorld(t)
	alone := map[string][]string{}
	require.Empty(t, comeThrough(t, w), "with every layer")
	var table strings.Builder
	for _, layer := range sandbox.Weakenings {
		alone[layer] = comeThrough(t, w, layer)
		fmt.Fprintf(&table, "| %s | %d | %s |\n", layer, len(alone[layer]), quoted(alone[layer]))
	}
	stopped := map[string]bool{}
	for _, behind := range [][2]string{
		{"seccomp", "landlock"},
		{"seccomp", "network namespace"},
		{"seccomp", "pid namespace"},
		{"seccomp", "ipc namespace"},
		{"seccomp", "own user id"},
		{"seccomp", "rlimits"},
		{"network namespace", "landlock"},
	} {
		names := slices.DeleteFunc(comeThrough(t, w, behind[:]...), func(n string) bool {
			return slices.Contains(alone[behind[0]], n) || slices.Contains(alone[behind[1]], n)
		})
		stopped[behind[1]] = stopped[behind[1]] || len(names) > 0
		fmt.Fprintf(&table, "| %s and %s | %d more | %s |\n", behind[0], behind[1], len(names), quoted(names))
	}
	fmt.Printf("| left out | attacks that come through | which |\n|---|---|---|\n%s", table.String())
	for _, layer := range sandbox.Weakenings {
		require.True(t, len(alone[layer]) > 0 || stopped[layer], "nothing shows what the %s is for", layer)
	}
}

func quoted(names []string) string {
	if len(names) == 0 {
		return "none alone: another layer stops them too"
	}
	return "`" + strings.Join(names, "` `") + "`"
}

// comeThrough names the attacks that get what they want where layers are missing.
func comeThrough(t *testing.T, w *world, layers ...string) (names []string) {
	c := hostConfig()
	for _, l := range layers {
		c = c.Without(l)
	}
	p := newPool(t, w, c, -1)
	defer p.Close()
	w.settle(t)
	for _, a := range corpus() {
		if slices.Contains(destructive, a.name) || slices.Contains(endless, a.name) && len(layers) > 0 {
			continue
		}
		want, ok := wants[a.name]
		if !ok {
			want = refused
		}
		r, err := try(t, w, p, a, nil)
		if r.Outcome == jobs.Timeout { // a busy machine is not a hole
			r, err = try(t, w, p, a, nil)
		}
		if err != nil { // what the attack before left alive filled the slot
			r.Outcome = jobs.Killed
		}
		if err == nil && !want(r) || w.calls.Swap(0) > 0 || strings.Contains(r.raw, canary) {
			names = append(names, a.name)
		}
	}
	sort.Strings(names)
	return names
}
