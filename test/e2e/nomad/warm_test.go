package nomad

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"
)

// warmAgainstDispatch compares a call that finds a warm sandbox, through gateway
// and worker, with `nomad job dispatch` of /bin/true to its exit. It says what it
// measured and judges nothing: the machine may be busy.
func warmAgainstDispatch(t *testing.T, d *Deployment, gateway string, calls, dispatches int) {
	for i := range 30 { // spares are made, connections opened
		_, err := d.ask(gateway, 500+i)
		require.NoError(t, err)
	}
	gate := processOf(t, d.running(t, "prairie-scheduler")[0].ID)
	whole, own := busyTime(t), timeOf(t, gate)
	warm := make([]time.Duration, calls)
	for i := range warm {
		begin := time.Now()
		_, err := d.ask(gateway, 1000+i)
		require.NoError(t, err)
		warm[i] = time.Since(begin)
	}
	whole, own = busyTime(t)-whole, timeOf(t, gate)-own
	t.Logf("CPU of a warm call and its sandbox's successor: %v of the machine, of these %v the gateway's", whole/time.Duration(calls), own/time.Duration(calls))
	slices.Sort(warm)
	middle := warm[calls/2]
	t.Logf("warm call: p50 %v, p90 %v", middle, warm[calls*9/10])
	say := func(what string, took []time.Duration) {
		slices.Sort(took)
		m := took[len(took)/2]
		t.Logf("%s: p50 %v, %.0f times the warm call", what, m, float64(m)/float64(middle))
	}
	for _, driver := range []string{"raw_exec", "exec"} {
		by := truth(t, d, driver)
		var ended, known []time.Duration
		for range dispatches {
			e, k := by()
			ended, known = append(ended, e), append(known, k)
		}
		say("dispatch of /bin/true under "+driver+" to its exit", ended)
		say("the same until Nomad says so", known)
	}
	var hand []time.Duration
	for range dispatches {
		begin := time.Now()
		_, err := d.Agent.CLI("job", "dispatch", "truth-raw-exec")
		require.NoError(t, err)
		hand = append(hand, time.Since(begin))
	}
	say("`nomad job dispatch` of it, as typed, to its end", hand)
}

// truth registers /bin/true as a parameterized job and returns a function that
// dispatches it, and says when it ended and when Nomad told so.
func truth(t *testing.T, d *Deployment, driver string) func() (ended, known time.Duration) {
	t.Helper()
	id := "truth-" + strings.ReplaceAll(driver, "_", "-")
	job := api.NewBatchJob(id, id, "global", 50)
	job.Datacenters = []string{"*"}
	job.ParameterizedJob = &api.ParameterizedJobConfig{Payload: "forbidden"}
	task := api.NewTask("true", driver)
	task.Config = map[string]any{"command": "/bin/true"}
	task.Resources = &api.Resources{CPU: new(50), MemoryMB: new(16)}
	group := api.NewTaskGroup("g", 1)
	group.AddTask(task)
	job.AddTaskGroup(group)
	_, _, err := d.Agent.Client.Jobs().Register(job, nil)
	require.NoError(t, err)
	return func() (ended, known time.Duration) {
		begin := time.Now()
		r, _, err := d.Agent.Client.Jobs().Dispatch(id, nil, nil, "", nil)
		require.NoError(t, err)
		q := &api.QueryOptions{WaitTime: time.Minute}
		for {
			list, meta, err := d.Agent.Client.Jobs().Allocations(r.DispatchedJobID, false, q)
			require.NoError(t, err)
			if len(list) > 0 {
				if s := list[0].TaskStates["true"]; s != nil && !s.FinishedAt.IsZero() {
					require.False(t, s.Failed, "%v", s.Events)
					return s.FinishedAt.Sub(begin), time.Since(begin)
				}
			}
			q.WaitIndex = meta.LastIndex
		}
	}
}

// tick is the unit of times in /proc.
const tick = 10 * time.Millisecond

// busyTime is how long all cores together were not idle.
func busyTime(t *testing.T) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/stat")
	require.NoError(t, err)
	line, _, _ := strings.Cut(string(b), "\n")
	var sum time.Duration
	for i, f := range strings.Fields(line)[1:] {
		n, err := strconv.ParseInt(f, 10, 64)
		require.NoError(t, err)
		if i < 3 || i == 5 || i == 6 { // user, nice, system, irq, softirq
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// timeOf is the CPU time of one process.
func timeOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, err := strconv.ParseInt(f[11], 10, 64)
	require.NoError(t, err)
	system, err := strconv.ParseInt(f[12], 10, 64)
	require.NoError(t, err)
	return time.Duration(user+system) * tick
}

// processOf is the process of an allocation's task that has a token.
func processOf(t *testing.T, alloc string) int {
	t.Helper()
	pid, _ := tokenOf(t, alloc)
	return pid
}
