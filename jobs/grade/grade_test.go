package grade

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOptions(t *testing.T) {
	o, err := ParseOptions([]byte(`{"title":"x","externalGradingOptions":{"enabled":true,"image":"prairielearn/grader-python","serverFilesCourse":["python_autograder/","a.txt"],
		"entrypoint":"/grade/serverFilesCourse/python_autograder/run.sh -v 'two words'","timeout":5,"enableNetworking":true,"environment":{"A":"1","B":null}}}`))
	require.NoError(t, err)
	a := "1"
	require.Equal(t, &Options{
		Image: "prairielearn/grader-python", Entrypoint: []string{"/grade/serverFilesCourse/python_autograder/run.sh", "-v", "two words"},
		ServerFiles: []string{"python_autograder", "a.txt"}, Timeout: 5 * time.Second, Networking: true, Environment: map[string]*string{"A": &a, "B": nil},
	}, o)
	o, err = ParseOptions([]byte(`{"externalGradingOptions":{"enabled":true,"image":"i","entrypoint":["/run me","-h"]}}`))
	require.NoError(t, err)
	require.Equal(t, []string{"/run me", "-h"}, o.Entrypoint)
	require.Equal(t, DefaultTimeout, o.Timeout)
	for _, bad := range []string{
		``, `{}`, `{"externalGradingOptions":[]}`, `{"externalGradingOptions":{"image":"i"}}`, `{"externalGradingOptions":{"enabled":true}}`,
	} {
		_, err := ParseOptions([]byte(bad))
		require.Error(t, err, bad)
	}
	for _, bad := range []string{
		`"timeout":0`, `"timeout":-1`, `"timeout":1e9`, `"timeout":"5"`, `"serverFilesCourse":["/etc"]`, `"serverFilesCourse":["a/../../b"]`, `"serverFilesCourse":"a"`,
		`"entrypoint":7`, `"entrypoint":""`, `"entrypoint":[""]`, `"entrypoint":"a\u0000b"`, `"entrypoint":"a \\"`, `"environment":{"A=B":"1"}`, `"environment":{"":"1"}`,
		`"environment":{"A":"\u0000"}`, `"environment":{"A":1}`,
	} {
		_, err := ParseOptions([]byte(`{"externalGradingOptions":{"enabled":true,"image":"i",` + bad + `}}`))
		if bad == `"entrypoint":""` { // no word at all: the image's own
			require.NoError(t, err)
			continue
		}
		require.Error(t, err, bad)
	}
}

func TestCommandLinesAreSplitAsAShellDoes(t *testing.T) {
	for line, want := range map[string][]string{
		"": nil, "  ": nil, "a b\tc": {"a", "b", "c"}, `a "b c" d`: {"a", "b c", "d"}, `a'b'"c"`: {"abc"}, `a ''`: {"a", ""}, `a\ b`: {"a b"},
		`"a\"b\n"`: {`a"b\n`}, `'a\b'`: {`a\b`}, `$HOME *; x`: {"$HOME", "*;", "x"},
	} {
		got, err := split(line)
		require.NoError(t, err, line)
		require.Equal(t, want, got, line)
	}
}

func TestResults(t *testing.T) {
	r, err := ParseResults([]byte(`{"score":0.25,"message":"a\u0000b","output":"<b>","images":["data:image/png;base64,x",{"url":"u","label":"l"}],
		"tests":[{"name":"t","points":1,"max_points":2,"images":[{"url":"data:"}]}],"mine":{"more":[1,null,true]}}`))
	require.NoError(t, err)
	require.Equal(t, 0.25, r.Score)
	require.True(t, r.Gradable)
	require.Contains(t, string(r.Whole), `"message":"a`+"\uFFFD"+`b"`)
	require.Contains(t, string(r.Whole), `"output":"<b>"`)
	require.Contains(t, string(r.Whole), `"mine":{"more":[1,null,true]}`)

	r, err = ParseResults([]byte(`{"gradable":false,"format_errors":["a","b"]}`))
	require.NoError(t, err)
	require.Equal(t, &Results{FormatErrors: []string{"a", "b"}, Whole: r.Whole}, r)
	r, err = ParseResults([]byte(`{"score":1.0000000001}`)) // a sum of points
	require.NoError(t, err)
	require.Equal(t, 1.0, r.Score)

	for bad, says := range map[string]string{
		``: "no JSON object", `null`: "no JSON object", `[]`: "no JSON object", `{"score":1} x`: "goes on", `{"score":NaN}`: "no JSON object",
		`{"score":null}`: `no "score"`, `{"score":true}`: "not a number", `{"score":1.1}`: "from 0 to 1", `{"score":-1}`: "from 0 to 1", `{"score":1e999}`: "too large",
		`{"score":1,"x":-1e999}`: "too large", `{"score":1,"gradable":1}`: "gradable", `{"score":1,"format_errors":{}}`: "format_errors", `{"score":1,"format_errors":[1]}`: "format_errors",
		`{"score":1,"message":1}`: `"message" is not a string`, `{"score":1,"output":[]}`: `"output" is not a string`, `{"score":1,"tests":{}}`: `"tests" is not a list`,
		`{"score":1,"tests":[1]}`: `"tests"[0] is no object`, `{"score":1,"images":"x"}`: "not a list", `{"score":1,"images":[{}]}`: `"images"[0] has no URL`,
		`{"score":1,"tests":[{"images":[7]}]}`:                                            `"tests"[0]."images"[0] has no URL`,
		`{"score":1,"x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`:     "levels deep",
		`{"score":1,"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`: "no JSON object",
		`{"score":1,"x":"` + strings.Repeat("x", MaxResults) + `"}`:                       "larger than",
	} {
		_, err := ParseResults([]byte(bad))
		require.ErrorContains(t, err, says, "%.100s", bad)
	}
}

// What is accepted keeps what the package promises, whatever came in.
func FuzzResults(f *testing.F) {
	for _, s := range []string{`{"score":1}`, `{"score":0.5,"tests":[{"images":["x"]}]}`, `{"gradable":false}`, `{"score":1,"a\u0000":"\ud800"}`, "{\"score\":1,\"x\":\"\xff\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseResults(b)
		if err != nil {
			return
		}
		require.True(t, r.Score >= 0 && r.Score <= 1)
		require.True(t, r.Gradable || r.Score == 0)
		require.True(t, json.Valid(r.Whole))
		require.Less(t, len(r.Whole), 8*MaxResults)
		require.NotContains(t, string(r.Whole), `\u0000`)
		again, err := ParseResults(r.Whole)
		if len(r.Whole) <= MaxResults {
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
	})
}

// FuzzTree holds both readers of a course's and a student's names to clean paths.
func FuzzTree(f *testing.F) {
	f.Add([]byte(`{"externalGradingOptions":{"enabled":true,"image":"a/b:c","entrypoint":"x 'y'","serverFilesCourse":["a/"]}}`), []byte(`{"submitted_answers":{"_files":[{"name":"a/b","contents":"eA=="}]}}`))
	f.Fuzz(func(t *testing.T, info, data []byte) {
		if o, err := ParseOptions(info); err == nil {
			require.LessOrEqual(t, o.Timeout, LongestTimeout)
			for _, p := range o.ServerFiles {
				require.True(t, validPath(p), p)
			}
		}
		tree, err := NewTree(1<<20, data)
		if err != nil {
			return
		}
		for p, e := range tree.Entries {
			require.True(t, validPath(p), p)
			require.Empty(t, e.Link)
			if above, _, ok := cutLast(p); ok {
				require.True(t, tree.Entries[above].Dir, p)
			}
		}
		require.LessOrEqual(t, tree.Bytes, int64(1<<20))
	})
}

func cutLast(p string) (dir, name string, ok bool) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p, false
	}
	return p[:i], p[i+1:], true
}
