package scheduler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

const hello = `{"runtime":"python","files":[{"basename":"a.py","contents":"print(1)"}],"main":"a.py","hedge":"always"}`

// printer answers what name says, so that tests see who ran a program.
func printer(t *testing.T, name string, versions ...string) *fleettest.Worker {
	w := fleettest.New(t, nil)
	w.Set(func(s *fleettest.State) {
		s.Status.Runtimes = nil
		for _, v := range versions {
			s.Status.Runtimes = append(s.Status.Runtimes, jobs.Runtime{Name: "python", Version: v, Aliases: []string{"py"}, Digest: "secret"})
		}
		s.Program = func(_ context.Context, p jobs.Program) jobs.ProgramResult {
			return jobs.ProgramResult{Outcome: jobs.OK, Stdout: name, Runtime: p.Runtime, Steps: []jobs.Step{{Name: "run", Stdout: name}}}
		}
	})
	return w
}

func TestRuntimesOfTheFleet(t *testing.T) {
	a, b := printer(t, "a", "3.9", "3.11"), printer(t, "b", "3.11")
	_, url := gateway(t, scheduler.Config{}, a, b)
	r := get(t, url+"/runtimes")
	require.JSONEq(t, `[{"name":"python","version":"3.11","aliases":["py"]},{"name":"python","version":"3.9","aliases":["py"]}]`, r.body)
	for asked, want := range map[string]string{"python": "python@3.11", "py": "python@3.11", "python@3.9": "python@3.9"} {
		r := post(t, url+"/run", strings.Replace(hello, "python", asked, 1))
		require.Equal(t, http.StatusOK, r.status, r.body)
		var res jobs.ProgramResult
		require.NoError(t, json.Unmarshal([]byte(r.body), &res))
		require.Equal(t, want, res.Runtime)
		require.Equal(t, r.header.Get("Prairie-Id"), res.ID)
		if asked == "python@3.9" {
			require.Equal(t, "a", res.Stdout, "only a has it")
		}
	}
	r = post(t, url+"/run", strings.Replace(hello, "python", "cobol", 1))
	require.Equal(t, []any{http.StatusNotFound, "runtime_missing"}, []any{r.status, r.fault(t).Code})
}

func TestTwoWorkersForOneProgram(t *testing.T) {
	for name, spoil := range map[string]func(*fleettest.Worker){
		"both well": func(*fleettest.Worker) {},
		"slow":      func(w *fleettest.Worker) { w.Set(func(s *fleettest.State) { s.Delay = time.Minute }) },
		"stopped":   func(w *fleettest.Worker) { w.Set(func(s *fleettest.State) { s.Hang = true }) },
		"killed":    func(w *fleettest.Worker) { w.Crash() },
		"failing":   func(w *fleettest.Worker) { w.Set(func(s *fleettest.State) { s.Fail = 500 }) },
		"from outside": func(w *fleettest.Worker) {
			w.Set(func(s *fleettest.State) {
				s.Program = func(context.Context, jobs.Program) jobs.ProgramResult {
					return jobs.ProgramResult{Outcome: jobs.Killed}
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := printer(t, "a", "3.11"), printer(t, "b", "3.11")
			_, url := gateway(t, scheduler.Config{}, a, b)
			spoil(a)
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					for range 10 {
						r := post(t, url+"/run", hello)
						if r.status != http.StatusOK || strings.Count(r.body, `"outcome"`) != 1 {
							t.Errorf("%d %s", r.status, r.body)
						}
					}
				})
			}
			wg.Wait()
			if name == "slow" {
				require.Eventually(t, func() bool { return a.Cancelled.Load() == a.Programs.Load() && a.Programs.Load() > 0 }, 10*time.Second, time.Millisecond, "losers are told")
			}
		})
	}
}

func TestAlwaysUsesTwoSandboxesOfTheOnlyWorker(t *testing.T) {
	w := printer(t, "a", "3.11")
	_, url := gateway(t, scheduler.Config{}, w)
	w.Set(func(s *fleettest.State) {
		s.Program = func(ctx context.Context, _ jobs.Program) jobs.ProgramResult {
			for w.Programs.Load() < 2 && ctx.Err() == nil { // neither ends before both have begun
				time.Sleep(time.Millisecond)
			}
			return jobs.ProgramResult{Outcome: jobs.OK}
		}
	})
	require.Equal(t, http.StatusOK, post(t, url+"/run", hello).status)
	require.EqualValues(t, 2, w.Programs.Load())
	require.Equal(t, http.StatusOK, post(t, url+"/run", strings.Replace(hello, "always", "off", 1)).status)
	require.EqualValues(t, 3, w.Programs.Load())
}

func TestProgramsThatAreRefused(t *testing.T) {
	w := printer(t, "a", "3.11")
	_, url := gateway(t, scheduler.Config{}, w)
	with := func(s string) string {
		return `{"runtime":"python","files":[{"basename":"a.py","contents":""}],` + s + `}`
	}
	bodies := []string{
		`{"runtime":"python","files":[]}`, with(`"hedge":"sometimes"`), with(`"main":"b.py"`), with(`"mode":"a b"`),
		with(`"env":{"LD_PRELOAD":"x"}`), with(`"env":{"PYTHONPATH":"x"}`), with(`"env":{"A=B":"x"}`), with(`"env":{"PATH":"x"}`), with(`"env":{"A":"\u0000"}`),
		with(`"args":["\u0000"]`), with(`"switches":{"Compiler":["\u0000"]}`),
	}
	for _, name := range []string{"", "..", ".", "a/b", `a\\b`, "-rf", `a\u0000b`, `a\nb`, strings.Repeat("a", 256)} {
		bodies = append(bodies, fmt.Sprintf(`{"runtime":"python","files":[{"basename":"%s","contents":""}]}`, name))
	}
	bodies = append(bodies,
		`{"runtime":"python","files":[{"basename":"a","contents":""},{"basename":"a","contents":""}]}`,
		`{"runtime":"python","files":[{"basename":"a","contents":"*","encoding":"base64"}]}`,
		`{"runtime":"python","files":[{"basename":"a","contents":"","encoding":"utf16"}]}`)
	for _, body := range bodies {
		r := post(t, url+"/run", body)
		require.Equal(t, http.StatusBadRequest, r.status, body)
		r.fault(t)
	}
	require.Zero(t, w.Programs.Load())
}
