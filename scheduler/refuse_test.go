package scheduler_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

func TestAnElementThatIsNotThereIsMissingBeforeItsHTMLIs(t *testing.T) {
	w, url := one(t)
	for element, want := range map[string]string{"nope": "element_missing", "my-element": "bad_request"} {
		r := post(t, url+"/courses/tam212/current/element/"+element, `{"method":"render","data":{"variant_seed":1}}`)
		require.Equal(t, want, r.fault(t).Code)
	}
	require.Zero(t, w.Calls.Load(), "nothing ran")
	r := post(t, url+"/courses/nope/current/element/nope", `{"method":"render","data":{}}`)
	require.Equal(t, "course_missing", r.fault(t).Code)
}

func TestAnAnswerThatIsTooLargeIsAskedForOnce(t *testing.T) {
	ws := []*fleettest.Worker{fleettest.New(t, sample()), fleettest.New(t, sample())}
	_, url := gateway(t, scheduler.Config{MaxAnswer: 4 << 10}, ws...)
	body := `{"method":"generate","data":{"variant_seed":1,"pad":"` + strings.Repeat("x", 5000) + `"}}`
	r := post(t, url+"/courses/tam212/current/question/addNumbers", body)
	require.Equal(t, http.StatusBadGateway, r.status, r.body)
	f := r.fault(t)
	require.Equal(t, "answer_too_large", f.Code)
	require.False(t, f.Retryable)
	require.EqualValues(t, 1, ws[0].Invocations.Load()+ws[1].Invocations.Load())
}

func TestAWorkerThatKnowsNoChunksKeepsNothingAcrossVersions(t *testing.T) {
	w := fleettest.New(t, sample())
	w.Set(func(s *fleettest.State) {
		c := s.Courses["tam212"]
		first := c.Versions[v1]
		first.Chunks = nil
		c.Versions = map[string]fleettest.Version{v1: first, v2: first}
		s.Courses = map[string]fleettest.Course{"tam212": c}
	})
	_, url := gateway(t, scheduler.Config{}, w)
	for _, step := range [][2]string{{v1, "miss"}, {v1, "hit"}, {v2, "miss"}, {v2, "hit"}} {
		r := post(t, url+"/courses/tam212/"+step[0]+"/element/my-element", render)
		require.Equal(t, step[1], r.header.Get("Prairie-Cache"), step)
	}
}
