package runs

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

func TestPrograms(t *testing.T) {
	for name, tc := range map[string]struct{ body, want, err string }{
		"ada by suffix": {
			`{"name":"Hello","files":[{"basename":"main.adb","contents":"x"}],"mode":"run","main":"main.adb","switches":{"Builder":["-g"]},"lab":false}`,
			`{"runtime":"ada","files":[{"basename":"main.adb","contents":"x"}],"main":"main.adb","mode":"run","switches":{"Builder":["-g"]}}`, "",
		},
		"c++ beside c":     {`{"files":[{"basename":"a.h"},{"basename":"b.cpp"}],"mode":"compile","switches":[]}`, `{"runtime":"c++","files":[{"basename":"a.h","contents":""},{"basename":"b.cpp","contents":""}],"mode":"compile"}`, ""},
		"named":            {`{"files":[{"basename":"a.py"}],"runtime":"python","switches":null}`, `{"runtime":"python","files":[{"basename":"a.py","contents":""}],"mode":"run"}`, ""},
		"old words":        {`{"files":[{"basename":"a.c"}],"mode":"run_program"}`, `{"runtime":"c","files":[{"basename":"a.c","contents":""}],"mode":"run"}`, ""},
		"lab":              {`{"files":[{"basename":"a.adb"},{"basename":"lab_io.txt","contents":"in 0:1\nout 0:2"}],"mode":"submit","lab":true}`, `{"runtime":"ada","files":[{"basename":"a.adb","contents":""}],"mode":"submit","cases":[{"name":"0","stdin":"1","expect":"2"}]}`, ""},
		"lab, not asked":   {`{"files":[{"basename":"a.adb"},{"basename":"lab_io.txt","contents":"nonsense"}],"mode":"run","lab":true}`, `{"runtime":"ada","files":[{"basename":"a.adb","contents":""}],"mode":"run"}`, ""},
		"submit, no cases": {`{"files":[{"basename":"a.adb"}],"mode":"submit"}`, "", "lab_io.txt"},
		"mode":             {`{"files":[{"basename":"a.adb"}],"mode":"fly"}`, "", "mode"},
		"language":         {`{"files":[{"basename":"a.xyz"}],"mode":"run"}`, "", "runtime"},
	} {
		var s Submission
		require.NoError(t, json.Unmarshal([]byte(tc.body), &s), name)
		p, err := s.Program()
		if tc.err != "" {
			require.ErrorContains(t, err, tc.err, name)
			continue
		}
		require.NoError(t, err, name)
		got, err := json.Marshal(p)
		require.NoError(t, err)
		require.JSONEq(t, tc.want, string(got), name)
	}
	require.Error(t, json.Unmarshal([]byte(`{"switches":["-g"]}`), &Submission{}))
}

func TestLab(t *testing.T) {
	cases, err := ParseLab("in 0:1 2\r\nout 0: 3\nin 10: a\n\n b\nout 10:\nout 2: only\n")
	require.NoError(t, err)
	require.Equal(t, []jobs.ProgramCase{
		{Name: "0", Stdin: "1 2", Expect: "3"}, {Name: "10", Stdin: "a\n\n b"}, {Name: "2", Expect: "only"},
	}, cases)
	for _, bad := range []string{"x", "in 0:1", "in 0:1\nin 0:2\nout 0:3", "in -1:1\nout -1:1"} {
		_, err := ParseLab(bad)
		require.Error(t, err, bad)
	}
}

func TestTaskIDs(t *testing.T) {
	const run = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	id := TaskID("http://10.0.0.7:7301", run)
	require.NotContains(t, id, "10.0")
	got, is, ok := SplitTaskID(id)
	require.True(t, ok)
	require.Equal(t, run, got)
	require.True(t, is("http://10.0.0.7:7301"))
	require.False(t, is("http://10.0.0.8:7301"))
	for _, bad := range []string{"", ".", run, id[:12] + ".short", id + "/../x", strings.Replace(id, ".", "..", 1), id[:12] + "." + strings.Repeat("x", 65)} {
		_, _, ok := SplitTaskID(bad)
		require.False(t, ok, bad)
	}
}

func TestEachGenerationGetsItsShape(t *testing.T) {
	c := &jobs.RunChunk{
		Frames: []jobs.RunFrame{
			{Type: "console", Data: json.RawMessage(`"gprbuild"`)},
			{Type: "stdout", Data: json.RawMessage(`"6"`), Ref: "0"},
			{Type: "lab", Data: json.RawMessage(`{"success":true}`)},
		},
		Completed: true, Status: 1, Message: "m",
	}
	shape := func(v any) string {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return string(b)
	}
	var first, second Poll
	require.NoError(t, json.Unmarshal([]byte(`{"identifier":"x","already_read":2}`), &first))
	require.NoError(t, json.Unmarshal([]byte(`{"identifier":"x","read":0,"wait":1.5}`), &second))
	n, ok := first.From()
	require.True(t, ok)
	require.Equal(t, 2, n)
	require.JSONEq(t, `{"output_lines":["gprbuild","6","{\"success\":true}"],"status":1,"completed":true,"message":"m"}`, shape(first.Answer(c)))
	require.JSONEq(t, `{"output":[{"msg":{"type":"console","data":"gprbuild"}},{"msg":{"type":"stdout","data":"6"},"ref":"0"},{"msg":{"type":"lab","data":{"success":true}}}],"status":1,"completed":true,"message":"m"}`, shape(second.Answer(c)))
	require.JSONEq(t, `{"output":[{"type":"console","data":"gprbuild"},{"type":"stdout","data":"6","ref":"0"},{"type":"lab","data":{"success":true}}],"status":1,"completed":true,"message":"m"}`, shape(FrameOf(c)))
	require.JSONEq(t, `{"output":[],"status":0,"completed":false,"message":""}`, shape(second.Answer(&jobs.RunChunk{})))
	minus := -1
	_, ok = (&Poll{Read: &minus}).From()
	require.False(t, ok)
}

func FuzzLab(f *testing.F) {
	f.Add("in 0:1\nout 0:2\n")
	f.Add("out 3: a\n b\nin 3:\n")
	f.Fuzz(func(t *testing.T, text string) {
		cases, err := ParseLab(text)
		if err != nil {
			return
		}
		names := map[string]bool{}
		for _, c := range cases {
			require.False(t, names[c.Name])
			names[c.Name] = true
		}
	})
}

func FuzzSubmission(f *testing.F) {
	f.Add([]byte(`{"files":[{"basename":"a.adb","contents":""}],"mode":"submit","switches":{}}`))
	f.Add([]byte(`{"files":[{"basename":"lab_io.txt","contents":"in 0:1\nout 0:2"}],"mode":"submit","switches":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var s Submission
		if json.Unmarshal(raw, &s) != nil {
			return
		}
		if p, err := s.Program(); err == nil {
			require.NotEmpty(t, p.Runtime)
			require.NotEmpty(t, p.Mode)
		}
	})
}

func FuzzTaskID(f *testing.F) {
	f.Add(TaskID("w", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
	f.Fuzz(func(t *testing.T, id string) {
		if run, _, ok := SplitTaskID(id); ok {
			require.NotContains(t, run, "/")
			require.NotContains(t, run, "?")
		}
	})
}

func FuzzPoll(f *testing.F) {
	f.Add([]byte(`{"identifier":"x","read":3,"wait":1e300}`))
	f.Add([]byte(`{"identifier":"x","already_read":-1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p Poll
		if json.Unmarshal(raw, &p) != nil {
			return
		}
		n, ok := p.From()
		require.Equal(t, n >= 0, ok)
		_, err := json.Marshal(p.Answer(&jobs.RunChunk{Frames: []jobs.RunFrame{{Type: "stdout", Data: json.RawMessage(`"x"`)}}}))
		require.NoError(t, err)
	})
}
