package scheduler_test

import (
	"maps"
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

const render = `{"method":"render","html":"<my-element/>","data":{"variant_seed":1}}`

func TestRendersAreKeptAcrossVersionsThatDoNotDiffer(t *testing.T) {
	w := fleettest.New(t, sample())
	w.Set(func(s *fleettest.State) {
		c := s.Courses["tam212"]
		c.Versions = maps.Clone(c.Versions)
		second := c.Versions[v1]
		second.Chunks = maps.Clone(second.Chunks)
		second.Chunks["question/addNumbers"] = "changed" // an element's call does not see it
		c.Versions[v2] = second
		s.Courses = map[string]fleettest.Course{"tam212": c}
	})
	_, url := gateway(t, scheduler.Config{CacheDir: t.TempDir()}, w)
	for _, step := range []struct{ asked, version, want string }{
		{v1, v1, "miss"}, {"current", v1, "hit"}, {v2, v2, "hit"},
	} {
		r := post(t, url+"/courses/tam212/"+step.asked+"/element/my-element", render)
		require.Equal(t, http.StatusOK, r.status, r.body)
		require.Equal(t, step.want, r.header.Get("Prairie-Cache"))
		require.Equal(t, step.version, r.header.Get("Prairie-Version"))
		require.Equal(t, "<i><my-element/></i>", r.body)
	}
	r := post(t, url+"/courses/tam212/"+v2+"/element/my-element", render, "Accept", "application/vnd.prairielambda.result+json")
	require.Contains(t, r.body, v2, "a kept result names the version that was asked for")
}

func TestWhatIsNotKept(t *testing.T) {
	w, url := one(t)
	runs := func(path, body string, header ...string) int64 {
		before := w.Calls.Load()
		for range 2 {
			post(t, url+"/courses/tam212/"+v1+path, body, header...)
		}
		return w.Calls.Load() - before
	}
	require.EqualValues(t, 1, runs("/element/my-element", render))
	require.EqualValues(t, 2, runs("/element/my-element", render, "Cache-Control", "no-store"))
	require.EqualValues(t, 2, runs("/element/my-element", strings.Replace(render, `"variant_seed":1`, ``, 1)), "no seed")
	require.EqualValues(t, 2, runs("/question/addNumbers", `{"method":"generate","data":{"variant_seed":1}}`))
	require.EqualValues(t, 1, runs("/question/picture", `{"method":"file","data":{"variant_seed":1}}`))
	require.EqualValues(t, 2, runs("/question/broken", `{"method":"generate","data":{"variant_seed":1}}`))
	require.Equal(t, http.StatusNoContent, do(t, http.MethodPost, url+"/purge", "").status)
	require.EqualValues(t, 1, runs("/element/my-element", render))
}

func TestOtherRuntimesMiss(t *testing.T) {
	w, url := one(t)
	ask := func() string {
		return post(t, url+"/courses/tam212/"+v1+"/element/my-element", render).header.Get("Prairie-Cache")
	}
	require.Equal(t, "miss", ask())
	require.Equal(t, "hit", ask())
	w.Set(func(s *fleettest.State) {
		s.Status.Runtimes = []jobs.Runtime{{Name: "python", Version: "3.12"}}
	})
	require.Eventually(t, func() bool { return ask() == "miss" }, 10*time.Second, 2*time.Millisecond)
	require.Equal(t, "hit", ask())
}

func TestEqualRendersAtOnceRunOnce(t *testing.T) {
	w, url := one(t)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			r := post(t, url+"/courses/tam212/"+v1+"/element/my-element", render)
			if r.status != http.StatusOK || r.body != "<i><my-element/></i>" {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, w.Calls.Load())
}
