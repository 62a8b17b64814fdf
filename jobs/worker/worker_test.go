package worker

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
	"github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
	"github.com/prairielambda/prairielambda/jobs/ticket"
)

func TestMain(m *testing.M) {
	sandbox.Stage()
	os.Exit(m.Run())
}

const ver = "0123456789012345678901234567890123456789"

var files = map[string]string{
	"questions/q/info.json":                                       "{}",
	"questions/q/server.py":                                       "import time\ndef generate(data): data['params']['x'] = 1\ndef prepare(data): time.sleep(1000)\n",
	"questions/q/clientFilesQuestion/a.txt":                       "question file",
	"questions/q/tests/secret.txt":                                "secret",
	"questions/q/thumbnail.png":                                   "png",
	"clientFilesCourse/b/c.txt":                                   "course file",
	"serverFilesCourse/clientFilesCourse/x.txt":                   "secret",
	"infoCourse.json":                                             "{}",
	"courseInstances/f/clientFilesCourseInstance/s.txt":           "instance file",
	"courseInstances/f/assessments/a/clientFilesAssessment/f.txt": "assessment file",
	"courseInstances/f/infoCourseInstance.json":                   "{}",
}

// newWorker serves a plain directory in the shape of a mount.
func newWorker(t *testing.T, change func(*Config)) (*Worker, *httptest.Server) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	for name, content := range files {
		p := filepath.Join(dir, "c", ver, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, []byte(content), 0o644))
	}
	require.NoError(t, os.Symlink(ver, filepath.Join(dir, "c", "current")))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "c", ver, "clientFilesCourse", "link")))
	host, err := sandbox.Open(sandbox.Config{Slots: 8})
	require.NoError(t, err)
	t.Cleanup(host.Close)
	courses, err := pool.OpenCourses(dir)
	require.NoError(t, err)
	t.Cleanup(courses.Close)
	p, err := pool.New(context.Background(), pool.Config{Host: host, Courses: courses, Python: runtime.Python("/usr/bin/python3"), Program: runtime.Program})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	cfg := Config{Pool: p, Courses: courses, Tier: "root", MaxBody: 1 << 20}
	if change != nil {
		change(&cfg)
	}
	w := New(cfg)
	srv := httptest.NewServer(w)
	t.Cleanup(srv.Close)
	return w, srv
}

func invoke(t *testing.T, srv *httptest.Server, body string, header ...string) (int, []byte, http.Header) {
	t.Helper()
	return do(t, http.MethodPost, srv.URL+"/v1/invoke", body, header...)
}

func do(t *testing.T, method, url, body string, header ...string) (int, []byte, http.Header) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, b, resp.Header
}

func errorOf(t *testing.T, body []byte) jobs.Error {
	t.Helper()
	var e struct{ Error jobs.Error }
	require.NoError(t, json.Unmarshal(body, &e), "%s", body)
	return e.Error
}

const generate = `{"course":"c","version":"current","data":{"params":{}},"calls":[{"type":"question","name":"q","method":"generate"}]}`

func TestInvoke(t *testing.T) {
	w, srv := newWorker(t, nil)
	status, body, header := invoke(t, srv, generate, "Prairie-Id", "id-1")
	require.Equal(t, 200, status, "%s", body)
	require.Equal(t, "id-1", header.Get("Prairie-Id"))
	var r jobs.Result
	require.NoError(t, json.Unmarshal(body, &r))
	require.Equal(t, ver, r.Version)
	require.Equal(t, "id-1", r.ID)
	require.JSONEq(t, `{"params":{"x":1}}`, string(r.Data))

	for _, tc := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"no JSON", `{`, 400, "bad_request"},
		{"no calls", `{"course":"c","version":"current","data":{}}`, 400, "bad_request"},
		{"no data", `{"course":"c","version":"current","calls":[{"type":"question","name":"q","method":"generate"}]}`, 400, "bad_request"},
		{"unknown type", `{"course":"c","version":"current","data":{},"calls":[{"type":"x","name":"q","method":"generate"}]}`, 400, "bad_request"},
		{"too large", `{"course":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "too_large"},
		{"no course", strings.Replace(generate, `"c"`, `"d"`, 1), 404, "course_missing"},
		{"no version", strings.Replace(generate, `current`, strings.Repeat("9", 40), 1), 404, "version_missing"},
	} {
		status, body, _ := invoke(t, srv, tc.body)
		require.Equal(t, tc.status, status, "%s: %s", tc.name, body)
		require.Equal(t, tc.code, errorOf(t, body).Code, tc.name)
	}

	slow := strings.Replace(generate, `"generate"`, `"prepare"`, 1)
	status, body, _ = invoke(t, srv, slow, "Prairie-Deadline", "300")
	require.Equal(t, 503, status, "%s", body)
	require.True(t, errorOf(t, body).Retryable)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	require.NoError(t, w.Drain(ctx))
	status, body, _ = invoke(t, srv, generate)
	require.Equal(t, 503, status)
	require.Equal(t, "draining", errorOf(t, body).Code)
	status, _, _ = do(t, http.MethodGet, srv.URL+"/readyz", "")
	require.Equal(t, 503, status)
	status, body, _ = do(t, http.MethodGet, srv.URL+"/metrics", "")
	require.Equal(t, 200, status)
	require.Contains(t, string(body), `prairie_worker_calls_total{outcome="ok"} 1`)
}

func TestBrowsersAndForeignNamesGetNothing(t *testing.T) {
	_, srv := newWorker(t, nil)
	for _, header := range [][]string{{"Origin", "https://example.org"}, {"Origin", "null"}, {"Host", "rebound.example.org"}, {"Host", "10.0.0.1:80"}} {
		status, body, _ := invoke(t, srv, generate, header...)
		require.Equal(t, 403, status, "%v: %s", header, body)
	}
	for _, host := range []string{"localhost:1", "127.0.0.1", "[::1]:80"} {
		status, body, _ := invoke(t, srv, generate, "Host", host)
		require.Equal(t, 200, status, "%s: %s", host, body)
	}
}

func TestTickets(t *testing.T) {
	pub, priv, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	_, other, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	_, srv := newWorker(t, func(c *Config) { c.Tickets = ticket.NewVerifier(pub) })
	sign := func(key ed25519.PrivateKey, course, version string) string {
		s, err := ticket.Sign(key, ticket.New(course, version, time.Now().Add(time.Minute)))
		require.NoError(t, err)
		return s
	}
	good := sign(priv, "c", "current")
	status, body, _ := invoke(t, srv, generate, "Authorization", good)
	require.Equal(t, 200, status, "%s", body)
	for name, auth := range map[string]string{
		"none": "", "replayed": good, "another key": sign(other, "c", "current"),
		"another course": sign(priv, "d", "current"), "another version": sign(priv, "c", ver), "no ticket": "Bearer x",
	} {
		status, body, _ := invoke(t, srv, generate, "Authorization", auth)
		require.Equal(t, 401, status, "%s: %s", name, body)
	}
	for _, p := range []string{"/v1/files/c/current/clientFilesCourse/b/c.txt", "/v1/versions/c/current"} {
		status, body, _ := do(t, http.MethodGet, srv.URL+p, "")
		require.Equal(t, 401, status, "%s: %s", p, body)
		status, body, _ = do(t, http.MethodGet, srv.URL+p, "", "Authorization", sign(priv, "c", "current"))
		require.Equal(t, 200, status, "%s: %s", p, body)
	}
}

func TestFiles(t *testing.T) {
	_, srv := newWorker(t, nil)
	get := func(p string, header ...string) (int, []byte, http.Header) {
		return do(t, http.MethodGet, srv.URL+"/v1/files/c/current/"+p, "", header...)
	}
	for p, want := range map[string]string{
		"questions/q/clientFilesQuestion/a.txt": "question file", "clientFilesCourse/b/c.txt": "course file",
		"questions/q/thumbnail.png": "png", "courseInstances/f/clientFilesCourseInstance/s.txt": "instance file",
		"courseInstances/f/assessments/a/clientFilesAssessment/f.txt": "assessment file",
	} {
		status, body, header := get(p)
		require.Equal(t, 200, status, p)
		require.Equal(t, want, string(body))
		require.Equal(t, ver, header.Get("Prairie-Version"))
		status, _, _ = get(p, "If-None-Match", header.Get("ETag"))
		require.Equal(t, http.StatusNotModified, status)
		status, body, _ = get(p, "Range", "bytes=0-1")
		require.Equal(t, http.StatusPartialContent, status)
		require.Equal(t, want[:2], string(body))
	}
	for _, p := range []string{
		"infoCourse.json", "questions/q/server.py", "questions/q/info.json", "questions/q/tests/secret.txt",
		"serverFilesCourse/clientFilesCourse/x.txt", "courseInstances/f/infoCourseInstance.json", "clientFilesCourse",
		"clientFilesCourse/none", "clientFilesCourse/link", "clientFilesCourse/b", "clientFilesCourse/%2e%2e/infoCourse.json",
		"clientFilesCourse/..%2finfoCourse.json", "clientFilesCourse/b%00/c.txt",
	} {
		status, body, _ := get(p)
		require.Equal(t, 404, status, "%s: %s", p, body)
		require.Contains(t, string(body), "file_missing")
	}
}

func FuzzInvocation(f *testing.F) {
	f.Add([]byte(generate))
	f.Add([]byte(`{"calls":null,"limits":{"wall":-1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var inv jobs.Invocation
		if json.NewDecoder(bytes.NewReader(b)).Decode(&inv) != nil {
			return
		}
		again, err := json.Marshal(inv)
		require.NoError(t, err)
		var same jobs.Invocation
		require.NoError(t, json.Unmarshal(again, &same))
	})
}

// What cannot be graded is said without a run.
func TestWhatCannotBeGraded(t *testing.T) {
	_, srv := newWorker(t, nil)
	for body, want := range map[string]struct {
		status int
		code   string
	}{
		`{"course":"c","version":"` + ver + `","question":"q","data":{}}`:    {http.StatusUnprocessableEntity, "grader_missing"},
		`{"course":"c","version":"` + ver + `","question":"none","data":{}}`: {http.StatusNotFound, jobs.QuestionMissing},
		`{"course":"x","version":"` + ver + `","question":"q","data":{}}`:    {http.StatusNotFound, jobs.CourseMissing},
		`{"course":`: {http.StatusBadRequest, ""},
	} {
		status, answer, _ := do(t, http.MethodPost, srv.URL+"/v1/gradable", body)
		require.Equal(t, want.status, status, "%s: %s", body, answer)
		require.Contains(t, string(answer), want.code)
	}
}
