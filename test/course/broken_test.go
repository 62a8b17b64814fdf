package course

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBrokenQuestionsRaiseWhatTheyPromise(t *testing.T) {
	dir := written(t)
	d := newDriver(t, dir)
	promised := map[string]string{ // question/method: message
		"generate/generate": "RuntimeError: broken/generate: broken on purpose in generate",
		"prepare/prepare":   "RuntimeError: broken/prepare: broken on purpose in prepare",
		"render/render":     "RuntimeError: broken/render: broken on purpose in render",
		"parse/parse":       "RuntimeError: broken/parse: broken on purpose in parse",
		"grade/grade":       "RuntimeError: broken/grade: broken on purpose in grade",
		"test/test":         "RuntimeError: broken/test: broken on purpose in test",
		"file/file":         "RuntimeError: broken/file: broken on purpose in file",
		"syntax/generate":   "SyntaxError: expected ':'",
		"import/generate":   "ModuleNotFoundError: No module named 'broken_on_purpose_no_such_module'",
		"chained/generate":  "RuntimeError: broken/chained: broken on purpose in generate",
		"element/prepare":   "RuntimeError: ps-raises: broken on purpose in prepare",
		// What is not JSON is refused by whoever runs the call, in its own words.
		"not-a-number/generate": "ValueError: Out of range float values are not JSON compliant",
	}
	// These run to their end; a whole phase refuses or reports what they did.
	quiet := map[string]bool{"extra-key": true, "seed": true, "prints": true}
	for _, qid := range qids(t, dir, "broken/") {
		name := strings.TrimPrefix(qid, "broken/")
		raised := 0
		for _, method := range []string{"generate", "prepare", "render", "parse", "grade", "test", "file"} {
			data := d.dataOf(qid, method)
			got := d.do(request{Op: "phase", Name: qid, Method: method, Data: data})
			want, ok := promised[name+"/"+method]
			if name == "syntax" || name == "import" {
				want, ok = promised[name+"/generate"], true
			}
			if !ok {
				require.Empty(t, got.Error, "%s %s: %s", qid, method, got.Traceback)
				continue
			}
			raised++
			require.True(t, strings.HasPrefix(got.Error, want), "%s %s: %s", qid, method, got.Error)
		}
		require.Equal(t, quiet[name], raised == 0, qid)
	}
}

// dataOf is a data object with which method of qid could work.
func (d *driver) dataOf(qid, method string) object {
	d.t.Helper()
	data := newData(1)
	if method != "generate" {
		if got := d.do(request{Op: "phase", Name: qid, Method: "generate", Data: newData(1)}); got.Data != nil {
			data = got.Data
		}
	}
	if method != "generate" && method != "prepare" {
		if got := d.do(request{Op: "phase", Name: qid, Method: "prepare", Data: data}); got.Data != nil {
			data = got.Data
		}
	}
	raw := object{"two": "2"}
	rest := object{
		"raw_submitted_answers": raw, "submitted_answers": raw, "format_errors": object{}, "partial_scores": object{},
		"feedback": object{}, "score": 0, "gradable": true, "test_type": "correct", "filename": "x.txt", "panel": "question",
	}
	for key, value := range rest {
		data[key] = value
	}
	return data
}

// These are compiled and never run here: that needs a sandbox.
func TestLimitsAndAttacksCompile(t *testing.T) {
	dir := written(t)
	d := newDriver(t, dir)
	all := append(qids(t, dir, "limits/"), qids(t, dir, "attacks/")...)
	require.GreaterOrEqual(t, len(all), 10)
	for _, qid := range all {
		d.must(request{Op: "compile", Name: "questions/" + qid + "/server.py"})
	}
}
