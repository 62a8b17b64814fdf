package course

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fixed are the questions whose variants are all alike.
var fixed = map[string]bool{"words/planets": true}

func TestEveryQuestionTeaches(t *testing.T) {
	dir := written(t)
	d := newDriver(t, dir)
	for _, qid := range qids(t, dir, "") {
		if forStaff(qid) || qid == "rfc/example" {
			continue
		}
		t.Run(qid, func(t *testing.T) {
			d := &driver{t: t, in: d.in, out: d.out}
			seen := map[string]bool{}
			for seed := 1; seed <= 4; seed++ {
				life := d.must(request{Op: "life", Name: qid, Data: newData(seed)}).Data
				variant := life["variant"].(object)
				delete(variant, "variant_seed")
				seen[string(mustJSON(t, variant))] = true
				for kind, test := range life["tests"].(object) {
					checkTest(t, kind, test.(object)["promise"].(object), test.(object)["got"].(object))
				}
				for panel, html := range life["panels"].(object) {
					require.NotRegexp(t, leftTag, html, "every element was rendered")
					require.NotRegexp(t, leftMustache, html, "every tag was filled in")
					if panel == "question" {
						require.Contains(t, html, "name=", "there is something to answer")
					}
				}
				if seed == 1 {
					again := d.must(request{Op: "life", Name: qid, Data: newData(seed)}).Data
					delete(again["variant"].(object), "variant_seed")
					require.Equal(t, life, again, "the same seed gives the same variant and the same pages")
				}
			}
			if !fixed[qid] {
				require.Greater(t, len(seen), 1, "another seed gives another variant")
			}
		})
	}
}

var (
	leftTag      = regexp.MustCompile(`</?(ps-|my-)[a-z]`)
	leftMustache = regexp.MustCompile(`\{\{|\}\}`)
)

// checkTest compares what became of a submission with what the question's own
// test promised of it.
func checkTest(t *testing.T, kind string, promise, got object) {
	t.Helper()
	raw := promise["raw_submitted_answers"]
	require.NotEmpty(t, raw, "test(%s) sends answers", kind)
	if kind == "invalid" {
		require.Equal(t, keys(promise["format_errors"]), keys(got["format_errors"]), "%s: %v", kind, raw)
		return
	}
	require.Empty(t, got["format_errors"], "%s: %v", kind, raw)
	require.Equal(t, promise["score"], got["score"], "%s: %v of %v", kind, raw, got["params"])
	require.Equal(t, scores(promise["partial_scores"]), scores(got["partial_scores"]), "%s: %v", kind, raw)
	if kind == "correct" {
		require.EqualValues(t, 1, got["score"])
	} else {
		require.Less(t, got["score"], 0.5)
	}
}

func TestCubicPartialCredit(t *testing.T) {
	d := newDriver(t, written(t))
	variant := d.variant(Cubic, 7)
	wanted := variant["correct_answers"].(object)
	for _, tc := range []struct {
		derivative, slope any
		score             float64
	}{
		{wanted["derivative"], wanted["slope"], 1},
		{wanted["derivative"], 1e6, 2. / 3},
		{wanted["derivative"].(string) + " - 5", wanted["slope"], 2. / 3},
		{wanted["derivative"].(string) + " - 5", 1e6, 1. / 3},
		{"7*x^9", wanted["slope"], 1. / 3},
		{"7*x^9", 1e6, 0},
	} {
		got := d.submit(Cubic, variant, object{"derivative": tc.derivative, "slope": tc.slope})
		require.Empty(t, got["format_errors"])
		require.InDelta(t, tc.score, got["score"], 1e-9, "%v %v", tc.derivative, tc.slope)
	}
}

// The gateway's single calls carry only what the caller sent: no element ran.
func TestCubicByItsOwnFunctions(t *testing.T) {
	d := newDriver(t, written(t))
	call := func(method string, data object) reply {
		return d.must(request{Op: "call", Type: "question", Name: Cubic, Method: method, Data: data})
	}
	data := call("generate", object{"params": object{}, "variant_seed": 7}).Data
	require.Equal(t, data, call("generate", object{"params": object{}, "variant_seed": 7}).Data)
	wanted := data["correct_answers"].(object)
	data["submitted_answers"] = object{"derivative": wanted["derivative"], "slope": wanted["slope"]}
	data = call("grade", call("parse", data).Data).Data
	require.EqualValues(t, 1, data["score"])
	data["submitted_answers"] = object{"derivative": "os.system('id')"}
	require.Contains(t, call("parse", data).Data["format_errors"], "derivative")
	html := d.must(request{Op: "call", Type: "question", Name: Cubic, Method: "render", HTML: "<p>x</p>", Data: data}).HTML
	require.Equal(t, `<div class="cubic cubic-question"><p>x</p></div>`, html)
}

func TestFormatErrorsOfUnits(t *testing.T) {
	const qid = "physics/units/conversion"
	d := newDriver(t, written(t))
	variant := d.variant(qid, 1)
	for raw, want := range map[string]string{
		"":            "There is no answer.",
		"fast":        "Write a number and a unit, such as 12.5 km/h.",
		"12":          "The unit is missing.",
		"12 furlongs": `The unit "furlongs" is not known here.`,
	} {
		got := d.submit(qid, variant, object{"quantity": raw})
		require.Equal(t, object{"quantity": want}, got["format_errors"], raw)
	}
	require.Contains(t, d.submit(qid, variant, object{"quantity": "12 N"})["format_errors"].(object)["quantity"], "measures force, not")
}

func TestRootsInEitherOrder(t *testing.T) {
	const qid = "algebra/quadratic-roots"
	d := newDriver(t, written(t))
	variant := d.variant(qid, 3)
	wanted := variant["correct_answers"].(object)
	got := d.submit(qid, variant, object{"first": wanted["second"], "second": wanted["first"]})
	require.EqualValues(t, 1, got["score"])
}

func TestFiles(t *testing.T) {
	d := newDriver(t, written(t))
	file := func(qid, name string) []byte {
		data := d.variant(qid, 4)
		data["filename"] = name
		return d.must(request{Op: "phase", Name: qid, Method: "file", Data: data}).File
	}
	for qid, name := range map[string]string{"calculus/integrals/area": "area.png", "statistics/histogram": "histogram.png"} {
		picture, err := png.Decode(bytes.NewReader(file(qid, name)))
		require.NoError(t, err, qid)
		require.Greater(t, picture.Bounds().Dx(), 300)
	}
	svg := xml.NewDecoder(bytes.NewReader(file("graphs/shortest-path", "map.svg")))
	for {
		if _, err := svg.Token(); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
	}
	require.True(t, bytes.HasPrefix(file("physics/sound/equal-temperament", "note.wav"), []byte("RIFF")))
	require.True(t, strings.HasPrefix(string(file(Cubic, "cubic.txt")), "f(x) = "))
	require.Empty(t, file(Cubic, "other.txt"), "None is an empty file")
}
