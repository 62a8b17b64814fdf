package scheduler_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

func identifier(t *testing.T, r reply) string {
	t.Helper()
	require.Equal(t, http.StatusOK, r.status, r.body)
	var made struct{ Identifier, Message string }
	require.NoError(t, json.Unmarshal([]byte(r.body), &made))
	require.Equal(t, "Pending", made.Message)
	return made.Identifier
}

// A grading is a run like others: its task id is polled in both shapes.
func TestGradingIsPolledLikeOtherRuns(t *testing.T) {
	w := fleettest.New(t, sample())
	w.Set(func(s *fleettest.State) { s.Status.Name = "w" })
	_, url := gateway(t, scheduler.Config{}, w)
	r := post(t, url+"/courses/tam212/current/grade/sub/q1/", `{"submission":{"_files":[]},"data":{"variant_seed":7,"submitted_answers":{"old":1}}}`)
	id := identifier(t, r)
	version := r.header.Get("Prairie-Version")
	require.Len(t, version, 40, "current is resolved before the run begins")
	const grade = `{"state":"graded","score":0.5,"gradable":true,"format_errors":{},"feedback":{"succeeded":true,"start_time":"0001-01-01T00:00:00Z",` +
		`"end_time":"0001-01-01T00:00:00Z","results":{"score":0.5}},"exit_code":0,"environment":"grader@`
	r = post(t, url+"/check_output/", `{"identifier":"`+id+`","read":0,"wait":5}`)
	require.Contains(t, r.body, `"tam212/`+version+`/sub/q1 {\"submitted_answers\":{\"_files\":[]},\"variant_seed\":7}"`)
	require.Contains(t, r.body, `{"msg":{"type":"grade","data":`+grade)
	require.Contains(t, r.body, `"completed":true`)
	r = post(t, url+"/check_output/", `{"identifier":"`+id+`","already_read":1}`)
	var lines struct {
		Lines []string `json:"output_lines"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.body), &lines))
	require.Len(t, lines.Lines, 1)
	require.True(t, strings.HasPrefix(lines.Lines[0], grade), lines.Lines[0])
	require.Equal(t, http.StatusNotFound, post(t, url+"/courses/nope/current/grade/q", `{"data":{}}`).status)
	require.Equal(t, http.StatusBadRequest, post(t, url+"/courses/tam212/current/grade/a/%2e%2e/b", `{"data":{}}`).status)
	require.Equal(t, http.StatusBadRequest, post(t, url+"/run/", `{"runtime":"python","grading":{"course":"tam212"}}`).status, "no way round the scope")
}

// A token that may grade and nothing else follows what it began, and begins
// nothing elsewhere.
func TestTheRightToGrade(t *testing.T) {
	w, url, secret := guarded(t, "grade:tam212")
	w.Set(func(s *fleettest.State) { s.Status.Name = "w" })
	auth := []string{"Authorization", "Bearer " + secret}
	id := identifier(t, post(t, url+"/courses/tam212/"+v1+"/grade/q", `{"data":{}}`, auth...))
	poll := `{"identifier":"` + id + `","read":0,"wait":5}`
	require.Contains(t, post(t, url+"/check_output/", poll, auth...).body, `"grade"`)
	require.Equal(t, http.StatusUnauthorized, post(t, url+"/check_output/", poll).status)
	for path, body := range map[string]string{
		"/courses/tam213/" + v1 + "/grade/q": `{"data":{}}`, "/courses/tam212/" + v1 + "/question/addNumbers": generate, "/run_program/": ada, "/run": `{}`,
	} {
		require.Equal(t, http.StatusForbidden, post(t, url+path, body, auth...).status, path)
	}
	_, url, secret = guarded(t, "invoke:*")
	auth[1] = "Bearer " + secret
	require.Equal(t, http.StatusForbidden, post(t, url+"/courses/tam212/"+v1+"/grade/q", `{"data":{}}`, auth...).status)
	require.Equal(t, http.StatusForbidden, post(t, url+"/check_output/", poll, auth...).status)
}

func TestGradingsAreDispatchedWhereLongRunsAre(t *testing.T) {
	l := &longs{room: 1}
	_, url := gateway(t, scheduler.Config{Long: l}, fleettest.New(t, sample()))
	r := post(t, url+"/courses/tam212/current/grade/q", `{"data":{}}`)
	id := identifier(t, r)
	require.True(t, strings.HasSuffix(id, "."+longID), id)
	require.Equal(t, r.header.Get("Prairie-Version"), l.grading.Version)
	require.Equal(t, "q", l.grading.Question)
	require.Contains(t, post(t, url+"/check_output/", `{"identifier":"`+id+`","read":0}`).body, `"status":7`)
	r = post(t, url+"/courses/tam212/current/grade/q", `{"data":{}}`)
	require.Equal(t, http.StatusTooManyRequests, r.status, "no room: %s", r.body)
}

// A grading that cannot begin is refused at once, in the worker's words; what a worker
// cannot say is the run's to say.
func TestWhatCannotBeGradedIsRefused(t *testing.T) {
	w := fleettest.New(t, sample())
	var status int
	var said jobs.Error
	asked := 0
	w.Set(func(s *fleettest.State) {
		s.Status.Name = "w"
		s.Before = func(rw http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/v1/gradable" {
				return false
			}
			asked++
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(status)
			_ = json.NewEncoder(rw).Encode(map[string]jobs.Error{"error": said})
			return true
		}
	})
	_, url := gateway(t, scheduler.Config{}, w)
	for _, tc := range []struct {
		status, want int
		code         string
	}{
		{http.StatusUnprocessableEntity, http.StatusUnprocessableEntity, "grader_missing"},
		{http.StatusUnprocessableEntity, http.StatusUnprocessableEntity, "environment_missing"},
		{http.StatusNotFound, http.StatusNotFound, jobs.QuestionMissing},
		{http.StatusBadRequest, http.StatusBadRequest, "bad_request"},
		{http.StatusNotFound, http.StatusOK, "not_found"},
		{http.StatusOK, http.StatusOK, ""},
	} {
		status, said = tc.status, jobs.Error{Code: tc.code, Message: "the worker's words"}
		r := post(t, url+"/courses/tam212/"+v1+"/grade/q", `{"data":{}}`)
		require.Equal(t, tc.want, r.status, r.body)
		if tc.want != http.StatusOK {
			require.Contains(t, r.body, "the worker's words")
		}
	}
	require.Equal(t, 6, asked)
}
