package browser

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
)

var (
	submitForm  = regexp.MustCompile(`action="(/submit/\d+)">\s*<input type="hidden" name="token" value="([^"]+)"`)
	variantForm = regexp.MustCompile(`action="(/variant/[^"]+)"><input type="hidden" name="token" value="([^"]+)"`)
	asset       = regexp.MustCompile(`(?:src|href)="(/static/[^"]+)"`)
)

// post sends a form as the page at origin would, and does not follow.
func (d *dev) post(path, origin string, form url.Values, change func(*http.Request)) (status int, location string) {
	d.t.Helper()
	req, err := http.NewRequest(http.MethodPost, d.URL+path, strings.NewReader(form.Encode()))
	require.NoError(d.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	if change != nil {
		change(req)
	}
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	require.NoError(d.t, err)
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get("Location")
}

// has is require.Contains without the whole page in the message.
func has(t *testing.T, page, want string, why ...any) {
	t.Helper()
	require.True(t, strings.Contains(page, want), "the page lacks %q %v", want, why)
}

func TestOnlyThePageItselfChangesAnything(t *testing.T) {
	d := theSample(t)
	const q = "/question/words/planets?seed=72"
	page := d.page(q)
	m := submitForm.FindStringSubmatch(page)
	require.NotNil(t, m, page)
	good := url.Values{"token": {m[2]}, "answers": {`{"planet":"Mars"}`}, "action": {"grade"}}
	with := func(key, value string) url.Values {
		v := url.Values{}
		for k := range good {
			v.Set(k, good.Get(k))
		}
		v.Set(key, value)
		return v
	}
	other := variantForm.FindStringSubmatch(page)[2]
	for _, tc := range []struct {
		name, origin string
		form         url.Values
		change       func(*http.Request)
	}{
		{"no token", d.URL, with("token", ""), nil},
		{"another form's token", d.URL, with("token", other), nil},
		{"no origin", "", good, nil},
		{"another origin", "https://evil.example", good, nil},
		{"an opaque origin", "null", good, nil},
		{"another host name", "http://evil.example", good, func(r *http.Request) { r.Host = "evil.example" }},
	} {
		status, _ := d.post(m[1], tc.origin, tc.form, tc.change)
		require.Equal(t, http.StatusForbidden, status, tc.name)
	}
	require.NotContains(t, d.page(q), `id="score"`, "nothing of that was taken")
	req, err := http.NewRequest(http.MethodGet, d.URL+"/", nil)
	require.NoError(t, err)
	req.Host = "evil.example:80"
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusForbidden, resp.StatusCode, "a rebound name reads nothing")

	status, to := d.post(m[1], d.URL, good, nil)
	require.Equal(t, http.StatusSeeOther, status)
	has(t, d.page(to), `id="score"`)

	// Two tabs at once: both are kept, one after the other.
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { d.post(m[1], d.URL, good, nil) })
	}
	wg.Wait()
	has(t, d.page(to), ">3 ·")

	v := variantForm.FindStringSubmatch(page)
	status, to = d.post(v[1], d.URL, url.Values{"token": {v[2]}}, nil)
	require.Equal(t, http.StatusSeeOther, status)
	require.Contains(t, to, "seed=")
	require.Equal(t, 405, func() int { s, _ := d.get(m[1]); return s }(), "a GET never submits")
}

func TestABrokenVariantTakesNoAnswer(t *testing.T) {
	d := theSample(t)
	page := d.page("/question/broken/prepare")
	require.NotRegexp(t, submitForm, page)
	has(t, page, "This variant is broken")
	page = d.page("/question/broken/parse?seed=1")
	m := submitForm.FindStringSubmatch(page)
	status, to := d.post(m[1], d.URL, url.Values{"token": {m[2]}, "answers": {`{"two":"2"}`}}, nil)
	require.Equal(t, http.StatusSeeOther, status)
	page = d.page(to)
	has(t, page, "could not be processed")
	has(t, page, "broken on purpose in parse")
}

func TestVariantsOutliveARestartAndKeepTheirVersion(t *testing.T) {
	t.Parallel()
	d := startDev(t, sample(t))
	page := d.page("/question/words/planets?seed=1")
	m := submitForm.FindStringSubmatch(page)
	_, to := d.post(m[1], d.URL, url.Values{"token": {m[2]}, "answers": {`{"planet":"Mars"}`}}, nil)
	require.NoError(t, d.cmd.Process.Signal(os.Interrupt))
	require.NoError(t, <-d.ended)
	file := filepath.Join(d.dir, "questions/words/planets/question.html")
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, append(b, "<p>A new line.</p>"...), 0o644))
	d.start()
	has(t, d.panel("/question/words/planets?seed=1"), "A new line.")
	has(t, d.page("/question/words/planets?seed=1"), "Answered on earlier versions")
	require.NotContains(t, d.panel(to), "A new line.")
	has(t, d.page(to), "stays with it")
	has(t, d.page(to), `id="score"`)
	status, _ := d.post(m[1], d.URL, url.Values{"token": {m[2]}, "answers": {`{"planet":"Mars"}`}}, nil)
	require.Equal(t, http.StatusSeeOther, status, "the form of before the restart still counts")
}

func TestThePageIsSmall(t *testing.T) {
	d := theSample(t)
	for _, path := range []string{"/", "/question/" + course.Cubic} {
		page := d.page(path)
		size := len(page)
		docs := []string{page}
		if m := frameURL.FindStringSubmatch(page); m != nil {
			doc := d.page(m[1])
			size += len(doc)
			docs = append(docs, doc)
		}
		seen := map[string]bool{}
		for _, doc := range docs {
			for _, m := range asset.FindAllStringSubmatch(doc, -1) {
				if !seen[m[1]] && !strings.Contains(m[1], "mathjax") {
					seen[m[1]] = true
					size += len(d.page(m[1]))
				}
			}
			require.NotRegexp(t, `(?:src|href)="(?:https?:)?//`, doc, "nothing from elsewhere")
		}
		require.Less(t, size, 250<<10, path)
	}
}

func TestBrokenInputIsNamedWithItsFile(t *testing.T) {
	t.Parallel()
	dir := sample(t)
	write := func(path, text string) {
		t.Helper()
		file := filepath.Join(dir, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	write("infoCourse.json", "{\n  \"name\": 7,\n  \"topics\": \"many\"\n}")
	write("questions/bad/json/info.json", "{\n  \"title\": \"x\",\n}")
	write("questions/bad/list/info.json", `[1, 2]`)
	write("questions/bad/types/info.json", `{"title": 5, "topic": ["a"], "tags": "x", "type": "v3"}`)
	write("questions/bad/type/info.json", `{"title": "Old", "type": "Calculation"}`)
	write("questions/bad/utf8/info.json", "\xff\xfe{}")
	write("questions/words/planets/inner/info.json", `{"title": "Inside"}`)
	write("questions/twin/a/info.json", `{"title": "A", "uuid": "same"}`)
	write("questions/twin/b/info.json", `{"title": "B", "uuid": "same"}`)
	write("elements/no-info/x.py", "")
	write("elements/no-controller/info.json", `{"controller": "gone.py"}`)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "courseInstances")))
	d := startDev(t, dir)
	list := d.page("/")
	for file, message := range map[string]string{
		"infoCourse.json":                         "&#34;name&#34; is missing or not a string",
		"questions/bad/json/info.json":            "not JSON: line 3",
		"questions/bad/list/info.json":            "not a JSON object",
		"questions/bad/types/info.json":           "&#34;tags&#34; is not a list of strings",
		"questions/bad/type/info.json":            "only v3 questions run here",
		"questions/bad/utf8/info.json":            "not JSON",
		"questions/words/planets/inner/info.json": "lies inside the question words/planets",
		"questions/twin/b/info.json":              "the uuid is that of questions/twin/a",
		"elements/no-info/info.json":              "missing",
		"elements/no-controller/info.json":        "&#34;gone.py&#34; is missing",
	} {
		require.Regexp(t, `<code>`+regexp.QuoteMeta(file)+`</code> <span>[^<]*`+regexp.QuoteMeta(message), list)
	}
	has(t, list, course.Cubic, "and everything else is there")
	for _, q := range []string{"bad/json", "bad/list", "bad/types", "bad/type", "bad/utf8"} {
		page := d.page("/question/" + q)
		has(t, page, "questions/"+q, "it opens and says what is wrong")
	}
	has(t, d.page("/question/twin/a"), "has no question.html")
	status, body := d.get("/question/no/such")
	require.Equal(t, 404, status)
	require.Contains(t, body, "there is no question")
	for _, odd := range []string{"/question/..%2f..%2fetc", "/question/%00", "/question/.", "/files/current/infoCourse.json", "/files/../../etc/passwd", "/frame/x", "/dynamic/99/x.png", "/question/words/planets?seed=-1"} {
		status, _ := d.get(odd)
		require.Contains(t, []int{301, 307, 400, 404, 410}, status, odd)
	}
}
