package nomad

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"
)

// warmCalls run course code each time: one that works with sympy and numpy for
// most of its time, and two that do not.
var warmCalls = []struct{ name, path, body string }{
	{"generate of calculus/derivatives/cubic", "question/calculus/derivatives/cubic", `{"method":"generate","data":{"params":{},"variant_seed":%d}}`},
	{"generate of words/caesar", "question/words/caesar", `{"method":"generate","data":{"params":{},"correct_answers":{},"variant_seed":%d}}`},
	{"render of element ps-hint", "element/ps-hint", `{"method":"render","html":"<ps-hint>Expand first.</ps-hint>","data":{"params":{},"variant_seed":%d}}`},
}

// warmAgainstDispatch compares calls that find a warm sandbox, through gateway and
// worker, with `nomad job dispatch` of /bin/true to its exit. Between two calls it
// rests, so that each finds a spare that is ready. It says what it measured and
// judges nothing: the machine may be busy.
func warmAgainstDispatch(t *testing.T, d *Deployment, gateway string, calls, dispatches int) {
	by := truth(t, d, "raw_exec")
	var ended, known, hand []time.Duration
	for range dispatches {
		e, k := by()
		ended, known = append(ended, e), append(known, k)
		begin := time.Now()
		_, err := d.Agent.CLI("job", "dispatch", "truth-raw-exec")
		require.NoError(t, err)
		hand = append(hand, time.Since(begin))
	}
	middle := func(took []time.Duration) time.Duration { slices.Sort(took); return took[len(took)/2] }
	exit := middle(known)
	t.Logf("dispatch of /bin/true, p50: %v to its exit by the client's clock, %v until Nomad says so, %v as typed to its end", middle(ended), exit, middle(hand))

	gate := processOf(t, d.running(t, "prairie-scheduler")[0].ID)
	for _, c := range warmCalls {
		one := func(seed int) time.Duration {
			begin := time.Now()
			status, answer, err := d.send(gateway, "/courses/sample/current/"+c.path, fmt.Appendf(nil, c.body, seed))
			took := time.Since(begin)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, status, answer)
			return took
		}
		for i := range calls / 4 { // spares are made, connections opened
			one(500 + i)
		}
		whole, own, phases := busyTime(t), timeOf(t, gate), d.phases(t, gateway)
		took := make([]time.Duration, calls)
		for i := range took {
			time.Sleep(50 * time.Millisecond)
			took[i] = one(1000 + i)
		}
		whole, own = busyTime(t)-whole, timeOf(t, gate)-own
		var parts strings.Builder
		for phase, seconds := range d.phases(t, gateway) {
			fmt.Fprintf(&parts, " %s %.2f ms,", phase, 1000*(seconds-phases[phase])/float64(calls))
		}
		slices.Sort(took)
		t.Logf("%s: p50 %v, p90 %v, 1/%.0f of the dispatch; means:%s CPU with its sandbox's successor %v, of these a gateway's %v",
			c.name, took[calls/2], took[calls*9/10], float64(exit)/float64(took[calls/2]), parts.String(), whole/time.Duration(calls), own/time.Duration(calls))
	}
}

// phases are the seconds that each phase of all calls has taken, by the gateway's word.
func (d *Deployment) phases(t *testing.T, gateway string) map[string]float64 {
	t.Helper()
	status, text, err := d.request(http.MethodGet, gateway+"/metrics", "", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	sums := map[string]float64{}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, `prairie_gateway_phase_seconds_sum{phase="`); ok {
			phase, value, _ := strings.Cut(strings.TrimSpace(rest), `"} `)
			sums[phase], err = strconv.ParseFloat(value, 64)
			require.NoError(t, err)
		}
	}
	return sums
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
