package preview

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/question"
)

func TestCompare(t *testing.T) {
	got := compare(json.RawMessage(`{"a":1,"b":{"c":2,"gone":true},"same":[1,2],"n":null}`), json.RawMessage(`{"a":1.5,"b":{"c":2,"d":{"x":"<b>"}},"same":[1,2],"n":0}`))
	require.Equal(t, []diff{{"a", "1", "1.5"}, {"b.d", "", `{"x":"<b>"}`}, {"b.gone", "true", ""}, {"n", "null", "0"}}, got)
	require.Empty(t, compare(nil, nil))
	require.Empty(t, compare(json.RawMessage(`{"big":12345678901234567890}`), json.RawMessage(`{"big":12345678901234567890}`)))
}

func TestTreeNamesWhoChangedWhat(t *testing.T) {
	nodes := tree(json.RawMessage(`{"params":{"x":"a","list":[1,{}]},"score":0.5}`), map[string]string{"params.x": "generate", "score": "grade"})
	require.Len(t, nodes, 2)
	require.Equal(t, "generate", nodes[0].Phase, "of what is inside")
	require.Equal(t, "list", nodes[0].Kids[0].Name)
	require.Equal(t, node{Name: "x", Value: `"a"`, Kind: "string", Phase: "generate"}, nodes[0].Kids[1])
	require.Equal(t, "grade", nodes[1].Phase)
	require.Nil(t, tree(json.RawMessage(`not json`), nil))
}

func TestClientFiles(t *testing.T) {
	for p, want := range map[string]bool{
		"clientFilesCourse/a.png": true, "questions/a/b/clientFilesQuestion/x/y.png": true, "elements/e/clientFilesElement/a.js": true,
		"elements/e/e.css": true, "elementExtensions/e/x/clientFilesExtension/a.png": true, "courseInstances/f/clientFilesCourseInstance/s.txt": true,
		"courseInstances/f/assessments/a/clientFilesAssessment/f.txt": true,
		"clientFilesCourse": false, "infoCourse.json": false, "serverFilesCourse/key.txt": false, "questions/a/server.py": false,
		"questions/clientFilesQuestion": false, "elements/e/e.py": false, "elements/e/info.json": false, "elements/e": false,
		"questions/a/tests/clientFilesCourse/x": false, "courseInstances/f/infoCourseInstance.json": false,
	} {
		require.Equal(t, want, clientFile(p), p)
	}
}

func FuzzClientFile(f *testing.F) {
	for _, p := range []string{"clientFilesCourse/a", "questions/a/clientFilesQuestion/b", "elements/e/e.css", "/", ""} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if fs.ValidPath(p) && clientFile(p) && (strings.HasSuffix(p, "/server.py") && !strings.Contains(p, "clientFiles") || strings.HasPrefix(p, "serverFiles")) {
			t.Errorf("%q is served", p)
		}
	})
}

func TestAnIssueFindsItsLine(t *testing.T) {
	files := fstest.MapFS{"questions/q/server.py": {Data: []byte("one\ntwo\nthree\n\xffour\n")}, "elements/e/e.py": {Data: []byte("x")}}
	is := issue{Trace: "Traceback\n  File \"/course/questions/q/server.py\", line 1, in f\n  File \"/course/questions/q/server.py\", line 3, in g\n  File \"/usr/lib/python3/x.py\", line 9, in h\n"}
	is.locate(files)
	require.Equal(t, "questions/q/server.py", is.File)
	require.Equal(t, 3, is.Line)
	require.Equal(t, sourceLine{3, "three", true}, is.Source[2])
	for _, odd := range []string{`File "/course/../etc/passwd", line 1`, `File "/course/questions/q/server.py", line 99999999999999999999`, `File "/course/questions/q/server.py", line 0`, "", `(/course/elements/e/e.py, line 77)`} {
		is := issue{Trace: odd}
		is.locate(files)
		require.NotContains(t, is.File, "etc")
	}
}

func FuzzIssue(f *testing.F) {
	files := fstest.MapFS{"a.py": {Data: []byte("1\n2\n3")}}
	f.Add("File \"/course/a.py\", line 2, in f")
	f.Add("x() of y (/course/a.py, line 3): boom")
	f.Fuzz(func(t *testing.T, trace string) {
		is := issue{Trace: trace, Message: trace}
		is.locate(files)
		if is.File != "" && is.File != "a.py" {
			t.Errorf("found %q", is.File)
		}
	})
}

func TestWaterfallAddsUp(t *testing.T) {
	p := &view{}
	p.inspect(fstest.MapFS{}, []question.Step{
		{Name: "generate", Outcome: jobs.OK, Wall: 60 * time.Millisecond, Phases: jobs.Phases{Queue: 10 * time.Millisecond, Run: 40 * time.Millisecond}, Timings: []jobs.Timing{{Name: "server.py", MS: 30}, {Name: "mustache", MS: 0.01}}},
		{Name: "prepare", Outcome: jobs.QuestionError, Message: "no", Wall: 40 * time.Millisecond},
	})
	require.Equal(t, 100*time.Millisecond, p.Waterfall.Total)
	var names []string
	for _, b := range p.Waterfall.Bars {
		names = append(names, b.Name)
		for _, s := range b.Segments {
			require.LessOrEqual(t, s.X+s.W, 100.0001)
		}
	}
	require.Equal(t, []string{"generate", "server.py", "a quick one", "prepare"}, names)
	require.InDelta(t, 60, p.Waterfall.Bars[3].X, 0.001)
	require.True(t, p.Fatal)
	require.Len(t, p.Issues, 1)
}

func TestTheNewestDocumentsAreKept(t *testing.T) {
	d := newDocuments()
	first := d.put([]byte("first"))
	for range maxDocuments {
		d.put(nil)
	}
	require.Nil(t, d.get(first))
	require.NotNil(t, d.get(d.put([]byte("last"))))
}
