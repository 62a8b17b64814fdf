package rendercache

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/prairielambda/prairielambda/jobs"
)

// base is an input and the chunks it was made of.
func base() (Input, map[string]string) {
	html := "<my-el>"
	chunks := map[string]string{
		"elements": "1", "serverFilesCourse": "2", "course": "3", "question/a": "4", "question/b": "5",
		"clientFilesCourseInstance/Fa24": "6", "clientFilesAssessment/Fa24/hw1": "7", "clientFilesAssessment/Fa24/hw2": "8",
	}
	return Input{
		Runtime: "r", Question: "a", CourseInstance: "Fa24", Assessment: "hw1",
		Call:   jobs.Call{Type: jobs.Question, Name: "a", Method: "render", HTML: &html},
		Data:   json.RawMessage(`{"variant_seed":1,"params":{"a":1,"b":[1,2]}}`),
		Limits: jobs.Limits{Memory: 1},
	}, chunks
}

func key(t require.TestingT, in Input, chunks map[string]string) Key {
	in.Version = NewVersion(&jobs.VersionInfo{Course: "c", Version: "v", Chunks: chunks})
	k, ok := in.Key()
	require.True(t, ok)
	return k
}

func TestEveryChangeMisses(t *testing.T) {
	in, chunks := base()
	k := key(t, in, chunks)
	html := "<my-el/>"
	for name, change := range map[string]func(*Input, map[string]string){
		"runtime":    func(in *Input, _ map[string]string) { in.Runtime = "s" },
		"method":     func(in *Input, _ map[string]string) { in.Call.Method = "file" },
		"type":       func(in *Input, _ map[string]string) { in.Call.Type = jobs.Phase },
		"name":       func(in *Input, _ map[string]string) { in.Call.Name = "b" },
		"html":       func(in *Input, _ map[string]string) { in.Call.HTML = &html },
		"no html":    func(in *Input, _ map[string]string) { in.Call.HTML = nil },
		"question":   func(in *Input, _ map[string]string) { in.Question = "b" },
		"instance":   func(in *Input, _ map[string]string) { in.CourseInstance = "Sp25" },
		"assessment": func(in *Input, _ map[string]string) { in.Assessment = "hw2" },
		"value": func(in *Input, _ map[string]string) {
			in.Data = json.RawMessage(`{"variant_seed":1,"params":{"a":2,"b":[1,2]}}`)
		},
		"float for int": func(in *Input, _ map[string]string) {
			in.Data = json.RawMessage(`{"variant_seed":1,"params":{"a":1.0,"b":[1,2]}}`)
		},
		"order of keys": func(in *Input, _ map[string]string) {
			in.Data = json.RawMessage(`{"variant_seed":1,"params":{"b":[1,2],"a":1}}`)
		},
		"seed": func(in *Input, _ map[string]string) {
			in.Data = json.RawMessage(`{"variant_seed":2,"params":{"a":1,"b":[1,2]}}`)
		},
		"wall":               func(in *Input, _ map[string]string) { in.Limits.Wall = 1 },
		"cpu":                func(in *Input, _ map[string]string) { in.Limits.CPU = 1 },
		"memory":             func(in *Input, _ map[string]string) { in.Limits.Memory = 2 },
		"processes":          func(in *Input, _ map[string]string) { in.Limits.Processes = 1 },
		"output":             func(in *Input, _ map[string]string) { in.Limits.Output = 1 },
		"result":             func(in *Input, _ map[string]string) { in.Limits.Result = 1 },
		"files":              func(in *Input, _ map[string]string) { in.Limits.Files = 1 },
		"elements":           func(_ *Input, c map[string]string) { c["elements"] = "x" },
		"own question":       func(_ *Input, c map[string]string) { c["question/a"] = "x" },
		"rest of the course": func(_ *Input, c map[string]string) { c["course"] = "x" },
		"own instance":       func(_ *Input, c map[string]string) { c["clientFilesCourseInstance/Fa24"] = "x" },
		"own assessment":     func(_ *Input, c map[string]string) { c["clientFilesAssessment/Fa24/hw1"] = "x" },
		"new chunk":          func(_ *Input, c map[string]string) { c["elementExtensions"] = "x" },
		"lost chunk":         func(_ *Input, c map[string]string) { delete(c, "serverFilesCourse") },
	} {
		in, chunks := base()
		change(&in, chunks)
		require.NotEqual(t, k, key(t, in, chunks), name)
	}
	other, _ := base()
	other.Version = NewVersion(&jobs.VersionInfo{Course: "d", Chunks: chunks})
	ok2, _ := other.Key()
	require.NotEqual(t, k, ok2, "two courses never share an entry, even with equal content")
}

func TestWhatTheCallCannotSeeChangesNothing(t *testing.T) {
	in, chunks := base()
	k := key(t, in, chunks)
	for _, other := range []string{"question/b", "question/c", "clientFilesAssessment/Fa24/hw2", "clientFilesCourseInstance/Sp25"} {
		c := maps.Clone(chunks)
		c[other] = "changed"
		require.Equal(t, k, key(t, in, c), other)
	}
	in.Data = json.RawMessage("{ \"variant_seed\" : 1,\n\t\"params\":{\"a\":1,\"b\":[ 1,2 ]}}")
	require.Equal(t, k, key(t, in, chunks), "white space")
}

func TestOnlyPureSeededCallsHaveAKey(t *testing.T) {
	for data, want := range map[string]bool{`{"variant_seed":1}`: true, `{"VARIANT_SEED":1}`: false, `{"variant_seed":null}`: false, `{"a":{"variant_seed":1}}`: false} {
		in, chunks := base()
		in.Version, in.Data = NewVersion(&jobs.VersionInfo{Chunks: chunks}), json.RawMessage(data)
		_, ok := in.Key()
		require.Equal(t, want, ok, data)
	}
	in, chunks := base()
	in.Version = NewVersion(&jobs.VersionInfo{Course: "c", Chunks: chunks})
	for name, change := range map[string]func(*Input){
		"generate":  func(in *Input) { in.Call.Method = "generate" },
		"grade":     func(in *Input) { in.Call.Method = "grade" },
		"no seed":   func(in *Input) { in.Data = json.RawMessage(`{"params":{}}`) },
		"null seed": func(in *Input) { in.Data = json.RawMessage(`{"variant_seed":null}`) },
		"not JSON":  func(in *Input) { in.Data = json.RawMessage(`{"variant_seed":1`) },
		"runtime":   func(in *Input) { in.Runtime = "" },
	} {
		in := in
		change(&in)
		_, ok := in.Key()
		require.False(t, ok, name)
	}
}

// Fields that run into each other would make different inputs equal.
func TestKeysOfDifferentInputsDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[ab/\x00]{0,3}`)
		draw := func(label string) (Input, string) {
			in, chunks := base()
			in.Question, in.CourseInstance, in.Assessment = word.Draw(t, label+"q"), word.Draw(t, label+"i"), word.Draw(t, label+"a")
			in.Call.Name, in.Runtime = word.Draw(t, label+"n"), "r"+word.Draw(t, label+"r")
			html := word.Draw(t, label+"h")
			in.Call.HTML = &html
			in.Version = NewVersion(&jobs.VersionInfo{Course: "c", Chunks: chunks})
			return in, fmt.Sprintf("%q", []string{in.Question, in.CourseInstance, in.Assessment, in.Call.Name, in.Runtime, html})
		}
		a, sa := draw("a")
		b, sb := draw("b")
		ka, _ := a.Key()
		kb, _ := b.Key()
		require.Equal(t, sa == sb, ka == kb, "%s %s", sa, sb)
	})
}
