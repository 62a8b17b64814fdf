package nomad

import (
	"slices"
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
	warm := make([]time.Duration, calls)
	for i := range warm {
		begin := time.Now()
		_, err := d.ask(gateway, 1000+i)
		require.NoError(t, err)
		warm[i] = time.Since(begin)
	}
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
