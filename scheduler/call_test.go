package scheduler_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

// The RFC's example bodies, without their trailing commas.
const (
	rfcElement = `{"method": "render", "html": "<my-element attr=\"value\">hello, world!</my-element>", "data": {"params": {"number": 123}}}`
	rfcBatch   = `{"data": {"params": {"number": 123}}, "requests": [{"type": "question", "method": "grade"},
		{"type": "element", "method": "grade", "html": "<my-element attr=\"value\">hello, world!</my-element>"}]}`
)

func TestTheExamplesOfTheRFC(t *testing.T) {
	_, url := one(t)
	r := post(t, url+"/courses/tam212/current/element/my-element", rfcElement)
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Equal(t, "text/html; charset=utf-8", r.header.Get("Content-Type"))
	require.Equal(t, `<i><my-element attr="value">hello, world!</my-element></i>`, r.body)
	require.Equal(t, v1, r.header.Get("Prairie-Version"))
	require.NotEmpty(t, r.header.Get("Prairie-Id"))

	r = post(t, url+"/courses/tam212/current/", rfcBatch)
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.JSONEq(t, `{
		"data": {"params": {"number": 123}, "graded": true},
		"responses": [
			{"status": 404, "output": "", "body": {"error": {"code": "question_missing", "message": "neither the item nor the batch names a question",
				"outcome": "missing", "retryable": false, "id": "`+r.header.Get("Prairie-Id")+`"}}},
			{"status": 200, "output": "", "body": {"params": {"number": 123}, "graded": true}}
		]}`, r.body)
}

func TestAnswersAreTheResultItself(t *testing.T) {
	_, url := one(t)
	base := url + "/courses/tam212/" + v1
	for name, tc := range map[string]struct{ path, body, wantType, want string }{
		"data":       {"/question/addNumbers", `{"method":"generate","data":{"variant_seed":7}}`, "application/json", `{"params":{"seed":7},"variant_seed":7}`},
		"html":       {"/question/nested/deep", `{"method":"render","data":{},"html":"x"}`, "text/html; charset=utf-8", "<b>x</b>"},
		"file":       {"/question/picture", `{"method":"file","data":{}}`, "application/octet-stream", "\x89PNG"},
		"empty file": {"/question/empty", `{"method":"file","data":{}}`, "application/octet-stream", ""},
		"phase":      {"/process/addNumbers", `{"method":"prepare","data":{}}`, "application/json", `{"phase":"prepare"}`},
		"slash":      {"/question/nested/deep/", `{"method":"render","data":{},"html":"x"}`, "text/html; charset=utf-8", "<b>x</b>"},
		"%2F":        {"/question/nested%2Fdeep", `{"method":"render","data":{},"html":"x"}`, "text/html; charset=utf-8", "<b>x</b>"},
		"%2f, slash": {"/question/nested%2fdeep/", `{"method":"render","data":{},"html":"x"}`, "text/html; charset=utf-8", "<b>x</b>"},
		"escaped":    {"/question/%61ddNumbers", `{"method":"generate","data":{}}`, "application/json", `{"params":{"seed":null}}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := post(t, base+tc.path, tc.body)
			require.Equal(t, http.StatusOK, r.status, r.body)
			require.Equal(t, tc.wantType, r.header.Get("Content-Type"))
			require.Equal(t, tc.want, r.body)
			require.Equal(t, v1, r.header.Get("Prairie-Version"))
			require.Equal(t, "nosniff", r.header.Get("X-Content-Type-Options"))
			if strings.HasPrefix(tc.wantType, "text/html") {
				require.Equal(t, "sandbox", r.header.Get("Content-Security-Policy"))
			}
		})
	}
}

func TestTheFullResultKeepsConsoleOutput(t *testing.T) {
	_, url := one(t)
	const accept = "application/vnd.prairielambda.result+json"
	for _, tc := range []struct{ qid, body, want string }{
		{"chatty", `{"method":"generate","data":{}}`, `{"data":{"params":{}},"output":"hello console","outcome":"ok","usage":{"wall":0,"cpu":0},"version":"` + v1 + `","id":"me.1"}`},
		{"picture", `{"method":"file","data":{}}`, `{"file":"iVBORw==","output":"","outcome":"ok","usage":{"wall":0,"cpu":0},"version":"` + v1 + `","id":"me.1"}`},
		{"empty", `{"method":"file","data":{}}`, `{"file":"","output":"","outcome":"ok","usage":{"wall":0,"cpu":0},"version":"` + v1 + `","id":"me.1"}`},
	} {
		r := post(t, url+"/courses/tam212/current/question/"+tc.qid, tc.body, "Accept", "text/html, "+accept+";q=0.9", "Prairie-Id", "me.1")
		require.Equal(t, http.StatusOK, r.status)
		require.Equal(t, accept, r.header.Get("Content-Type"))
		require.JSONEq(t, tc.want, r.body)
	}
}

func TestFatesOfCourseCode(t *testing.T) {
	w, url := one(t)
	r := post(t, url+"/courses/tam212/current/question/broken", `{"method":"generate","data":{}}`)
	require.Equal(t, http.StatusUnprocessableEntity, r.status)
	f := r.fault(t)
	require.Equal(t, "question_error", f.Code)
	require.EqualValues(t, "question_error", f.Outcome)
	require.Equal(t, []string{"ValueError: no", "Traceback ...", "printed before"}, []string{f.Message, f.Traceback, f.Output})
	require.False(t, f.Retryable)

	r = post(t, url+"/courses/tam212/current/question/slow", `{"method":"generate","data":{}}`)
	require.Equal(t, http.StatusUnprocessableEntity, r.status)
	require.Equal(t, "timeout", r.fault(t).Code)
	require.EqualValues(t, 2, w.Invocations.Load(), "what the course did is never tried again")
}

func TestNotThere(t *testing.T) {
	_, url := one(t)
	call := `{"method":"generate","data":{},"html":"<x>"}`
	for path, code := range map[string]string{
		"/courses/nope/current/question/addNumbers":                    "course_missing",
		"/courses/nope/" + v1 + "/question/addNumbers":                 "course_missing",
		"/courses/..%2fetc/" + v1 + "/question/addNumbers":             "course_missing",
		"/courses/tam212/" + v1[1:] + "3/question/addNumbers":          "version_missing",
		"/courses/tam212/%20/question/addNumbers":                      "version_missing",
		"/courses/tam212/current/question/nope":                        "question_missing",
		"/courses/tam212/current/question/a%00b":                       "bad_path",
		"/courses/tam212/current/question/addNumbers%252e":             "question_missing",
		"/courses/tam212/current/element/nope":                         "element_missing",
		"/courses/tam212/current/element/my-element":                   "method_missing",
		"/courses/tam212/current/question/picture":                     "method_missing",
		"/courses/tam212/current/process/picture":                      "question_missing",
		"/courses/tam212/current/nope/x":                               "not_found",
		"/courses/tam212/current/question":                             "not_found",
		"/elsewhere":                                                   "not_found",
		"/courses/tam212/current/question/a/../b":                      "bad_path",
		"/courses/tam212/current/question/a/%2e%2e/b":                  "bad_path",
		"/courses/tam212/current/question/a%2f..%2fb":                  "bad_path",
		"/courses/tam212/current/question/.":                           "bad_path",
		"/courses/tam212/current/question/a//b":                        "bad_path",
		"/courses/tam212/current/question//a":                          "bad_path",
		"/courses/tam212/current/question/a%2f":                        "bad_path",
		"/courses/tam212/current/question/%ff":                         "bad_path",
		"/courses/tam212/current/question/a%5cb":                       "bad_path",
		"/courses/tam212/current/question/a%0ab":                       "bad_path",
		"/courses/tam212/current/question/" + strings.Repeat("a", 300): "bad_path",
		"/courses//current/question/a":                                 "bad_path",
	} {
		r := post(t, url+path, call)
		require.Contains(t, []int{http.StatusBadRequest, http.StatusNotFound}, r.status, path)
		require.Equal(t, code, r.fault(t).Code, path)
	}
	r := get(t, url+"/courses/tam212/current/question/addNumbers")
	require.Equal(t, http.StatusMethodNotAllowed, r.status)
	require.Equal(t, "POST", r.header.Get("Allow"))
}

func TestBodiesThatAreRefused(t *testing.T) {
	w := fleettest.New(t, sample())
	_, url := gateway(t, scheduler.Config{MaxBody: 1 << 10, MaxItems: 2}, w)
	item := `{"type":"question","method":"grade","name":"addNumbers"}`
	for _, tc := range []struct {
		path, body string
		status     int
		says       string
	}{
		{"question/addNumbers", ``, 400, "JSON"},
		{"question/addNumbers", `{`, 400, "JSON"},
		{"question/addNumbers", `[]`, 400, "JSON"},
		{"question/addNumbers", `{"method":"generate","data":{}} x`, 400, "JSON"},
		{"question/addNumbers", `{"method":"generate"}`, 400, "data"},
		{"question/addNumbers", `{"method":"generate","data":null}`, 400, "data"},
		{"question/addNumbers", `{"method":"generate","data":[]}`, 400, "data"},
		{"question/addNumbers", `{"data":{}}`, 400, "method"},
		{"question/addNumbers", `{"method":"a b","data":{}}`, 400, "method"},
		{"question/addNumbers", `{"method":"` + strings.Repeat("x", 200) + `","data":{}}`, 400, "method"},
		{"question/addNumbers", "{\"method\":\"generate\",\"data\":{\"a\":\"\xff\"}}", 400, "UTF-8"},
		{"question/addNumbers", `{"method":"generate","data":{},"course_instance":"../x"}`, 400, "course_instance"},
		{"question/addNumbers", `{"method":"generate","data":{},"assessment":"a"}`, 400, "course_instance"},
		{"question/addNumbers", `{"method":"generate","data":{"a":"` + strings.Repeat("x", 1<<10) + `"}}`, 413, "1024"},
		{"element/..", `{"method":"render","data":{},"html":""}`, 400, "name"},
		{"", `{"data":{},"requests":[]}`, 400, "requests"},
		{"", `{"data":{},"requests":[` + item + `,` + item + `,` + item + `]}`, 400, "requests"},
		{"", `{"data":{},"requests":[` + item + `,{"type":"file","method":"grade"}]}`, 400, "requests[1]: type"},
		{"", `{"data":{},"requests":[{"type":"element","method":"grade","html":"text"}]}`, 400, "requests[0]: name"},
		{"", `{"data":{},"on_error":"pause","requests":[` + item + `]}`, 400, "on_error"},
		{"", `{"data":{},"requests":[{"type":"question","name":"a/../b","method":"grade"}]}`, 400, "requests[0]: name"},
	} {
		r := post(t, url+"/courses/tam212/"+v1+"/"+tc.path, tc.body)
		require.Equal(t, tc.status, r.status, tc.body)
		require.Contains(t, r.fault(t).Message, tc.says)
	}
	require.Zero(t, w.Invocations.Load(), "no worker is bothered with any of them")
}

func TestBatchesRunInOrderOnOneSession(t *testing.T) {
	w, url := one(t)
	body := `{"data":{"variant_seed":3},"question":"addNumbers","on_error":%ON%,"requests":[
		{"type":"question","method":"generate"},
		{"type":"question","name":"broken","method":"generate"},
		{"type":"question","name":"picture","method":"grade"},
		{"type":"element","method":"grade","html":" <My-Element/>"},
		{"type":"question","name":"picture","method":"file"},
		{"type":"question","name":"slow","method":"generate"},
		{"type":"question","method":"grade"}]}`
	statuses := func(body string) (out []string) {
		for _, line := range strings.Split(strings.TrimSpace(body), "\n") {
			out = append(out, line[:min(len(line), 13)])
		}
		return out
	}
	r := post(t, url+"/courses/tam212/current", strings.Replace(body, "%ON%", `"continue"`, 1), "Accept", "application/x-ndjson")
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Equal(t, "application/x-ndjson", r.header.Get("Content-Type"))
	require.Equal(t, []string{`{"status":200`, `{"status":422`, `{"status":404`, `{"status":200`, `{"status":200`, `{"status":422`, `{"status":424`, `{"data":{"gra`}, statuses(r.body))
	require.Contains(t, r.body, `{"data":{"graded":true,"params":{"seed":3},"variant_seed":3}}`, "data goes on from before what failed")
	require.Contains(t, r.body, `"output":"printed before"`)
	require.Contains(t, r.body, `"session_lost"`)
	require.EqualValues(t, 1, w.Invocations.Load(), "one sandbox")

	r = post(t, url+"/courses/tam212/current", strings.Replace(body, "%ON%", `"stop"`, 1), "Accept", "application/x-ndjson")
	require.Equal(t, []string{`{"status":200`, `{"status":422`, `{"status":424`, `{"status":424`, `{"status":424`, `{"status":424`, `{"status":424`, `{"data":{"par`}, statuses(r.body))
}

func TestClientFiles(t *testing.T) {
	_, url := one(t)
	u := url + "/courses/tam212/current/files/clientFilesCourse/a%20b.svg"
	r := get(t, u)
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, "<svg/>", r.body)
	require.Equal(t, `"c1"`, r.header.Get("ETag"))
	require.Equal(t, "private, no-cache", r.header.Get("Cache-Control"))
	require.Equal(t, "sandbox", r.header.Get("Content-Security-Policy"))
	require.Equal(t, v1, r.header.Get("Prairie-Version"))
	r = get(t, strings.Replace(u, "current", v1, 1), "Range", "bytes=1-3")
	require.Equal(t, []any{http.StatusPartialContent, "svg", "bytes 1-3/6"}, []any{r.status, r.body, r.header.Get("Content-Range")})
	require.Contains(t, r.header.Get("Cache-Control"), "immutable")
	require.Equal(t, http.StatusNotModified, get(t, u, "If-None-Match", `"c1"`).status)
	require.Equal(t, http.StatusRequestedRangeNotSatisfiable, get(t, u, "Range", "bytes=99-").status)
	r = do(t, http.MethodHead, u, "")
	require.Equal(t, []any{http.StatusOK, "", "6"}, []any{r.status, r.body, r.header.Get("Content-Length")})
	r = get(t, url+"/courses/tam212/current/files/questions/addNumbers/server.py")
	require.Equal(t, http.StatusNotFound, r.status)
	require.Equal(t, "file_missing", r.fault(t).Code)
}

func TestBatchItemsThatNameNothing(t *testing.T) {
	w, url := one(t)
	item := func(name string) string { return `{"type":"question","name":"` + name + `","method":"generate"}` }
	for _, tc := range []struct {
		items, onError string
		want           []string
		runs           int64
	}{
		{item("addNumbers") + "," + item("") + "," + item("addNumbers"), "continue", []string{"200", "404", "200"}, 2},
		{item("addNumbers") + "," + item("") + "," + item("addNumbers"), "stop", []string{"200", "404", "424"}, 1},
		{item("broken") + "," + item("") + "," + item("addNumbers"), "stop", []string{"422", "424", "424"}, 0},
		{item("") + "," + item(""), "continue", []string{"404", "404"}, 0},
	} {
		before := w.Calls.Load()
		r := post(t, url+"/courses/tam212/current/", `{"data":{"a":1},"on_error":"`+tc.onError+`","requests":[`+tc.items+`]}`)
		require.Equal(t, http.StatusOK, r.status, r.body)
		var got struct {
			Data      map[string]any
			Responses []struct{ Status json.Number }
		}
		require.NoError(t, json.Unmarshal([]byte(r.body), &got))
		var statuses []string
		for _, it := range got.Responses {
			statuses = append(statuses, it.Status.String())
		}
		require.Equal(t, tc.want, statuses)
		require.EqualValues(t, 1, got.Data["a"])
		if tc.runs > 0 {
			require.Equal(t, tc.runs, w.Calls.Load()-before)
		}
	}
	r := post(t, url+"/courses/nope/current/", `{"data":{},"requests":[`+item("")+`]}`)
	require.Equal(t, http.StatusNotFound, r.status)
	require.Equal(t, "course_missing", r.fault(t).Code)
}
