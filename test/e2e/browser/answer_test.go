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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var openForm = regexp.MustCompile(`action="(/open/\d+)"><input type="hidden" name="token" value="([^"]+)"`)

func TestAClosedVariantTakesNoAnswer(t *testing.T) {
	d := startDev(t, sample(t))
	page := d.page("/question/words/planets?seed=1")
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

// write makes a question of its own.
func (d *dev) write(qid string, files map[string]string) {
	d.t.Helper()
	for name, text := range files {
		file := filepath.Join(d.dir, "questions", qid, name)
		require.NoError(d.t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(d.t, os.WriteFile(file, []byte(text), 0o644))
	}
}

// Tabs that answer one variant at once take turns: each submission is graded with
// those before it kept, and none is lost.
func TestTabsTakeTurns(t *testing.T) {
	dir := sample(t)
	d := &dev{t: t, dir: dir, cache: t.TempDir(), binary: binary, stderr: &locked{}}
	d.write("own/slow", map[string]string{
		"info.json": `{"title": "Slow", "type": "v3"}`, "question.html": `<input name="x">`,
		"server.py": "import time\n\ndef parse(data):\n    time.sleep(0.3)\n\ndef grade(data):\n    data['score'] = 1\n",
	})
	d.run()
	page := d.page("/question/own/slow?seed=1")
	submit := submitForm.FindStringSubmatch(page)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			status, _ := d.post(submit[1], d.URL, url.Values{"token": {submit[2]}, "answers": {fmt.Sprintf(`{"x":"%d"}`, i)}, "action": {"grade"}}, nil)
			require.Equal(t, http.StatusSeeOther, status)
		})
	}
	wg.Wait()
	page = d.page("/question/own/slow?seed=1")
	for n := 1; n <= 4; n++ {
		has(t, page, fmt.Sprintf(">%d · 100 %%", n))
	}
	times := regexp.MustCompile(`title="\d+ \w+, (\d\d:\d\d:\d\d)">\d ·`).FindAllStringSubmatch(page, -1)
	require.Len(t, times, 4)
	require.NotEqual(t, times[0][1], times[3][1], "0.3 s each, one after another, last more than a second together")
}

// What is handed in comes back from the address that the panel is told.
func TestUploadsAreServed(t *testing.T) {
	dir := sample(t)
	d := &dev{t: t, dir: dir, cache: t.TempDir(), binary: binary, stderr: &locked{}}
	d.write("own/upload", map[string]string{
		"info.json": `{"title": "Upload", "type": "v3"}`,
		"question.html": `{{^submitted_answers._files}}<input type="file" name="work" aria-label="Work">{{/submitted_answers._files}}` +
			`{{#submitted_answers._files}}<a href="{{options.submission_files_url}}/{{name}}">{{name}}</a>{{/submitted_answers._files}}`,
	})
	d.run()
	page := d.page("/question/own/upload?seed=1")
	submit := submitForm.FindStringSubmatch(page)
	_, to := d.post(submit[1], d.URL, url.Values{"token": {submit[2]}, "answers": {`{"_files":[{"name":"notes.txt","contents":"aGVsbG8="}]}`}}, nil)
	page = d.page(to)
	frame := regexp.MustCompile(`title="The submitted answer" src="([^"]+)"`).FindStringSubmatch(page)
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
	d := startDev(t, sample(t))
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
