package course

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}

func keys(o any) []string {
	all := []string{}
	for key := range o.(object) {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}

// scores are the score and weight of every part, without its feedback.
func scores(o any) map[string][2]any {
	all := map[string][2]any{}
	for name, part := range o.(object) {
		all[name] = [2]any{part.(object)["score"], part.(object)["weight"]}
	}
	return all
}

func (d *driver) element(tag, method, html string, data object) reply {
	d.t.Helper()
	return d.must(request{Op: "call", Type: "element", Name: tag, Method: method, HTML: html, Data: data})
}

func TestElementsOneByOne(t *testing.T) {
	d := newDriver(t, written(t))
	for _, tc := range []struct {
		tag, html, name string
		correct         any
		params          any
		raw             any
		parsed          any // nil: a format error
		score           float64
	}{
		{tag: "ps-number-input", correct: 2.5, raw: " 2.5 ", parsed: 2.5, score: 1},
		{tag: "ps-number-input", correct: 2.5, raw: "2.6", parsed: 2.6},
		{tag: "ps-number-input", correct: 0, raw: 0, parsed: 0., score: 1}, // a number, where a caller skips the form
		{tag: "ps-number-input", correct: 2.5, raw: "1e999"},
		{tag: "ps-number-input", correct: 2.5, raw: "nan"},
		{tag: "ps-number-input", correct: 2.5, raw: ""},
		{tag: "ps-string-input", correct: "Big Bluestem", raw: "big   bluestem", parsed: "big   bluestem", score: 1},
		{tag: "ps-string-input", correct: "Big Bluestem", raw: "kelp", parsed: "kelp"},
		{tag: "ps-symbolic-input", correct: "x^2 - 1", raw: "(x-1)*(x+1)", parsed: "(x - 1)*(x + 1)", score: 1},
		{tag: "ps-symbolic-input", correct: "x^2 - 1", raw: "x", parsed: "x"},
		{tag: "ps-symbolic-input", correct: "x^2 - 1", raw: "2x"},
		{tag: "ps-symbolic-input", correct: "x^2 - 1", raw: "1/0"},
		{tag: "ps-symbolic-input", correct: "x^2 - 1", raw: "9^9^9^9"},
		{tag: "ps-symbolic-input", correct: "x^2 - 1", raw: "__import__('os')"},
		{tag: "ps-symbolic-input", correct: "x^2 - 1", raw: "x.__class__"},
		{tag: "ps-matrix-input", correct: [][]int{{1, 2}, {3, 4}}, raw: "1 2; 3 4", parsed: []any{[]any{1., 2.}, []any{3., 4.}}, score: 1},
		{tag: "ps-matrix-input", correct: [][]int{{1, 2}, {3, 4}}, raw: "[[1, 2], [3, 0]]", parsed: []any{[]any{1., 2.}, []any{3., 0.}}, score: 0.75},
		{tag: "ps-matrix-input", correct: [][]int{{1, 2}, {3, 4}}, raw: "[[1, 2]]", parsed: []any{[]any{1., 2.}}},
		{tag: "ps-matrix-input", correct: [][]int{{1, 2}, {3, 4}}, raw: "[[1, 2], [3]]"},
		{tag: "ps-counter", correct: 3, raw: "3", parsed: 3., score: 1},
		{tag: "ps-counter", correct: 3, raw: "-1"},
	} {
		html := "<" + tc.tag + ` answers-name="a"></` + tc.tag + ">"
		answers := object{"a": tc.raw}
		data := object{
			"params": object{}, "correct_answers": object{"a": tc.correct}, "format_errors": object{}, "partial_scores": object{},
			"submitted_answers": answers, "raw_submitted_answers": answers, "feedback": object{},
		}
		data = d.element(tc.tag, "parse", html, data).Data
		if tc.parsed == nil {
			require.Equal(t, []string{"a"}, keys(data["format_errors"]), "%s: %v", tc.tag, tc.raw)
			data["panel"] = "submission"
			require.Contains(t, d.element(tc.tag, "render", html, data).HTML, "invalid")
			continue
		}
		require.Empty(t, data["format_errors"], "%s: %v", tc.tag, tc.raw)
		require.EqualValues(t, tc.parsed, data["submitted_answers"].(object)["a"])
		data = d.element(tc.tag, "grade", html, data).Data
		require.EqualValues(t, tc.score, data["partial_scores"].(object)["a"].(object)["score"], "%s: %v", tc.tag, tc.raw)
		for _, panel := range []string{"question", "submission", "answer"} {
			data["panel"] = panel
			require.NotEmpty(t, d.element(tc.tag, "render", html, data).HTML, "%s: %s", tc.tag, panel)
		}
	}
}

func TestMarkupInAnswersIsEscaped(t *testing.T) {
	d := newDriver(t, written(t))
	answers := object{"a": `"><script>`}
	for _, tag := range []string{"ps-number-input", "ps-string-input", "ps-symbolic-input", "ps-matrix-input", "ps-counter"} {
		for _, panel := range []string{"question", "submission"} {
			data := object{"panel": panel, "raw_submitted_answers": answers, "submitted_answers": object{"a": nil}, "format_errors": object{"a": "no"}}
			html := d.element(tag, "render", "<"+tag+` answers-name="a"></`+tag+">", data).HTML
			require.NotContains(t, html, "<script>")
			require.Contains(t, html, "&lt;script&gt;")
		}
	}
}

func TestMultipleChoice(t *testing.T) {
	d := newDriver(t, written(t))
	const html = `<ps-multiple-choice answers-name="a"><ps-answer correct="true">yes &amp; <b>no</b></ps-answer><ps-answer>no</ps-answer></ps-multiple-choice>`
	data := d.element("ps-multiple-choice", "prepare", html, newData(1)).Data
	right := data["correct_answers"].(object)["a"].(object)
	require.Equal(t, "yes &amp; <b>no</b>", right["html"])
	data["submitted_answers"], data["partial_scores"] = object{"a": right["key"]}, object{}
	data = d.element("ps-multiple-choice", "grade", html, data).Data
	require.EqualValues(t, 1, data["partial_scores"].(object)["a"].(object)["score"])
	got := d.do(request{Op: "call", Type: "element", Name: "ps-multiple-choice", Method: "prepare", HTML: `<ps-multiple-choice answers-name="a"></ps-multiple-choice>`, Data: newData(1)})
	require.Contains(t, got.Error, "it needs 2 to 26 answers")
}

func TestElementsThatUseOthers(t *testing.T) {
	d := newDriver(t, written(t))
	// An extension is found with and without a whole phase around it.
	for _, extensions := range []bool{true, false} {
		got := d.must(request{
			Op: "call", Type: "element", Name: "ps-card", Method: "render", Data: object{}, Extensions: extensions,
			HTML: `<ps-card title="Hot" look="warning">soup</ps-card>`,
		})
		require.Contains(t, got.HTML, "ps-card-warning")
		require.Contains(t, got.HTML, "⚠ Hot")
	}
	html := d.element("ps-hint", "render", "<ps-hint>look <i>up</i></ps-hint>", object{}).HTML
	require.Contains(t, html, "<ps-card ", "its HTML contains other elements")
	require.Contains(t, html, "look <i>up</i>")
	require.Empty(t, d.element("ps-answer-panel", "render", "<ps-answer-panel>x</ps-answer-panel>", object{"panel": "question"}).HTML)
	data := object{"options": object{"client_files_course_url": "/files/clientFilesCourse"}}
	html = d.element("ps-figure", "render", `<ps-figure file-name="prairie.svg" directory="clientFilesCourse"></ps-figure>`, data).HTML
	require.Contains(t, html, `src="/files/clientFilesCourse/prairie.svg"`)
}

// The two example bodies of the RFC, as far as course code answers them.
func TestRFCExamples(t *testing.T) {
	d := newDriver(t, written(t))
	const html = `<my-element attr="value">hello, world!</my-element>`
	number := func() object { return object{"params": object{"number": 123}} }
	require.Contains(t, d.element("my-element", "render", html, number()).HTML, "hello, world! The number is 123.")
	require.Contains(t, d.element("my-element", "grade", html, number()).Data, "partial_scores")
	got := d.must(request{Op: "call", Type: "question", Name: "rfc/example", Method: "grade", Data: number()})
	require.EqualValues(t, 1, got.Data["score"])
}
