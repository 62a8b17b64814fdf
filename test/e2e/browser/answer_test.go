package browser

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var openForm = regexp.MustCompile(`action="(/open/\d+)"><input type="hidden" name="token" value="([^"]+)"`)

func TestAClosedVariantTakesNoAnswer(t *testing.T) {
	d := theSample(t)
	page := d.page("/question/words/planets?seed=71")
	submit, open := submitForm.FindStringSubmatch(page), openForm.FindStringSubmatch(page)
	require.NotNil(t, open)
	answer := url.Values{"token": {submit[2]}, "answers": {`{"planet":"Mars"}`}, "action": {"grade"}}
	status, _ := d.post(open[1], d.URL, url.Values{"action": {"close"}}, nil)
	require.Equal(t, http.StatusForbidden, status, "no token")
	status, to := d.post(open[1], d.URL, url.Values{"token": {open[2]}, "action": {"close"}}, nil)
	require.Equal(t, http.StatusSeeOther, status)
	page = d.page(to)
	has(t, page, "This variant is closed")
	require.NotRegexp(t, submitForm, page)
	status, _ = d.post(submit[1], d.URL, answer, nil)
	require.Equal(t, http.StatusConflict, status, "an old form does not answer it either")
	require.NotContains(t, d.page(to), `id="score"`)
	_, to = d.post(open[1], d.URL, url.Values{"token": {open[2]}, "action": {"open"}}, nil)
	require.Regexp(t, submitForm, d.page(to))
	status, _ = d.post(submit[1], d.URL, answer, nil)
	require.Equal(t, http.StatusSeeOther, status)
}

// write makes a question of its own, in one change: a variant of half of it would
// stay one of half of it.
func (d *dev) write(qid string, files map[string]string) {
	d.t.Helper()
	beside := filepath.Join(filepath.Dir(d.dir), "made")
	for name, text := range files {
		file := filepath.Join(beside, name)
		require.NoError(d.t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(d.t, os.WriteFile(file, []byte(text), 0o644))
	}
	dir := filepath.Join(d.dir, "questions", qid)
	require.NoError(d.t, os.MkdirAll(filepath.Dir(dir), 0o755))
	require.NoError(d.t, os.Rename(beside, dir))
}

// copy makes a question like another one, but for its UUID, and waits until it is served.
func (d *dev) copy(from, to string) {
	d.t.Helper()
	require.NoError(d.t, os.CopyFS(filepath.Join(filepath.Dir(d.dir), "made"), os.DirFS(filepath.Join(d.dir, "questions", from))))
	d.write(to, map[string]string{"info.json": `{"title": "A copy", "type": "v3"}`})
	d.shown("/question/" + to)
}

// shown is a page once it is there: its question was written a moment ago.
func (d *dev) shown(path string) (page string) {
	d.t.Helper()
	require.Eventually(d.t, func() bool {
		var status int
		status, page = d.get(path)
		return status == http.StatusOK && !strings.Contains(page, "has no ")
	}, bound, tick, path)
	return page
}

// Tabs that answer one variant at once take turns: each submission is graded with
// those before it kept, and none is lost. Each says itself when its code ran.
func TestTabsTakeTurns(t *testing.T) {
	d := theSample(t)
	d.write("own/slow", map[string]string{
		"info.json":     `{"title": "Slow", "type": "v3"}`,
		"question.html": `{{^feedback.to}}<input name="x">{{/feedback.to}}{{#feedback.to}}<p>from {{feedback.from}} to {{feedback.to}}</p>{{/feedback.to}}`,
		"server.py": "import time\n\ndef parse(data):\n    data['feedback']['from'] = time.monotonic()\n    time.sleep(0.1)\n\n" +
			"def grade(data):\n    data['feedback']['to'] = time.monotonic()\n    data['score'] = 1\n",
	})
	const tabs = 4
	submit := submitForm.FindStringSubmatch(d.shown("/question/own/slow?seed=1"))
	locations := make([]string, tabs)
	var wg sync.WaitGroup
	for i := range tabs {
		wg.Go(func() {
			var status int
			status, locations[i] = d.post(submit[1], d.URL, url.Values{"token": {submit[2]}, "answers": {fmt.Sprintf(`{"x":"%d"}`, i)}, "action": {"grade"}}, nil)
			assert.Equal(t, http.StatusSeeOther, status)
		})
	}
	wg.Wait()
	page := d.page(locations[0])
	attempts := regexp.MustCompile(`<a href="([^"]+)"[^>]*>(\d) · 100 %`).FindAllStringSubmatch(page, -1)
	require.Len(t, attempts, tabs, "none is lost")
	var end float64
	for _, a := range attempts {
		shown := d.page(html.UnescapeString(a[1]))
		panel := d.page(submittedFrame.FindStringSubmatch(shown)[1])
		ran := regexp.MustCompile(`from ([\d.]+) to ([\d.]+)`).FindStringSubmatch(panel)
		require.NotNil(t, ran, panel)
		from, err := strconv.ParseFloat(ran[1], 64)
		require.NoError(t, err)
		require.Greater(t, from, end, "attempt %s began when the one before it had ended", a[2])
		end, err = strconv.ParseFloat(ran[2], 64)
		require.NoError(t, err)
	}
}

var submittedFrame = regexp.MustCompile(`title="The submitted answer" src="([^"]+)"`)

// What is handed in comes back from the address that the panel is told.
func TestUploadsAreServed(t *testing.T) {
	d := theSample(t)
	d.write("own/upload", map[string]string{
		"info.json": `{"title": "Upload", "type": "v3"}`,
		"question.html": `{{^submitted_answers._files}}<input type="file" name="work" aria-label="Work">{{/submitted_answers._files}}` +
			`{{#submitted_answers._files}}<a href="{{options.submission_files_url}}/{{name}}">{{name}}</a>{{/submitted_answers._files}}`,
	})
	page := d.shown("/question/own/upload?seed=1")
	submit := submitForm.FindStringSubmatch(page)
	_, to := d.post(submit[1], d.URL, url.Values{"token": {submit[2]}, "answers": {`{"_files":[{"name":"notes.txt","contents":"aGVsbG8="}]}`}}, nil)
	page = d.page(to)
	frame := submittedFrame.FindStringSubmatch(page)
	require.NotNil(t, frame, page)
	file := regexp.MustCompile(`href="(/submission/[^"]+/file/notes.txt)"`).FindStringSubmatch(d.page(frame[1]))
	require.NotNil(t, file, d.page(frame[1]))
	require.Equal(t, "hello", d.page(html.UnescapeString(file[1])))
	for _, odd := range []string{"/submission/1/file/notes.txt", file[1] + "x", "/submission/999-abc/file/notes.txt"} {
		status, _ := d.get(odd)
		require.Equal(t, http.StatusNotFound, status, odd)
	}
}

var playForm = regexp.MustCompile(`action="/play">\s*<input type="hidden" name="token" value="([^"]+)"`)

func TestThePlaygroundRunsPrograms(t *testing.T) {
	d := theSample(t)
	has(t, d.page("/"), `href="/play"`)
	page := d.page("/play")
	token := playForm.FindStringSubmatch(page)
	require.NotNil(t, token)
	form := url.Values{"token": {token[1]}, "runtime": {"python"}, "mode": {"run"}, "file": {"main.py"}, "stdin": {"1 2 39\n"}, "source": {"import sys\nprint('sum', sum(map(int, sys.stdin.read().split())))\n"}}
	status, to := d.post("/play", d.URL, form, nil)
	require.Equal(t, http.StatusSeeOther, status)
	has(t, d.page(to), "sum 42")
	form.Set("source", "print(<script>")
	_, to = d.post("/play", d.URL, form, nil)
	page = d.page(to)
	has(t, page, "SyntaxError")
	require.NotContains(t, page, "print(<script>", "it is escaped")
	form.Set("runtime", "none")
	_, to = d.post("/play", d.URL, form, nil)
	has(t, d.page(to), "none")
	form.Set("token", "")
	status, _ = d.post("/play", d.URL, form, nil)
	require.Equal(t, http.StatusForbidden, status)

	// So does what polls for its output.
	ask := func(path, body string, into any) {
		t.Helper()
		resp, err := http.Post(d.URL+path, "application/json", strings.NewReader(body))
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode, "%s", b)
		require.NoError(t, json.Unmarshal(b, into), "%s", b)
	}
	var run struct{ Identifier string }
	ask("/run_program/", `{"name":"n","files":[{"basename":"main.py","contents":"print(6 * 7)"}],"mode":"run","main":"main.py","switches":{},"lab":false,"runtime":"python"}`, &run)
	var said struct {
		Lines     []string `json:"output_lines"`
		Completed bool
	}
	require.Eventually(t, func() bool {
		ask("/check_output/", fmt.Sprintf(`{"identifier":%q,"already_read":0,"wait":10}`, run.Identifier), &said)
		return said.Completed
	}, 30*time.Second, time.Millisecond)
	require.Contains(t, said.Lines, "42")
}
