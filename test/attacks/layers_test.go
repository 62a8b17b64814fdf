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
	need(t)
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
// then come further than they may: the table in jobs/sandbox/README.md. A layer
// without an entry of its own is backed by another one, which the table says too.
//
//	go test -tags weaken -run TestEachLayerMatters -v ./test/attacks
func TestEachLayerMatters(t *testing.T) {
	need(t)
	w := newWorld(t)
	fail := func(layer string) (names []string) {
		c := hostConfig()
		if layer != "" {
			c = c.Without(layer)
		}
		p := newPool(t, w, c, -1)
		w.settle(t)
		for _, a := range corpus() {
			if slices.Contains(destructive, a.name) || slices.Contains(endless, a.name) && layer != "" {
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
	require.Empty(t, fail(""), "with every layer")
	var table strings.Builder
	for _, layer := range sandbox.Weakenings {
		names := fail(layer)
		said := "`" + strings.Join(names, "` `") + "`"
		if len(names) == 0 {
			said = "none alone: another layer stops them too"
		}
		fmt.Fprintf(&table, "| %s | %d | %s |\n", layer, len(names), said)
	}
	fmt.Printf("| layer left out | attacks that come through | which |\n|---|---|---|\n%s", table.String())
}
