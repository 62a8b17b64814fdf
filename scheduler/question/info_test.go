package question

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInfo(t *testing.T) {
	for _, tc := range []struct {
		json  string
		fault string
	}{
		{`{"title": "A", "type": "v3"}`, ""},
		{`{"title": "A", "type": "Freeform", "partialCredit": false}`, ""},
		{`{"title": "A", "type": "Calculation"}`, `"type" is "Calculation"; only v3 questions run here`},
		{`{"title": "A", "gradingMethod": "Oracle"}`, `"gradingMethod" is "Oracle"; use Internal, External or Manual`},
		{`{}`, `"title" is missing`},
		{`{"title": "A", "tags": "x"}`, `"tags" is not a list of strings`},
		{"{\n \"title\": \"A\",,\n}", `not JSON: line 2, column 15: invalid character ',' looking for beginning of object key string`},
		{`[]`, `not a JSON object`},
		{``, `not JSON: line 1, column 1: unexpected end of JSON input`},
	} {
		info := ParseInfo([]byte(tc.json))
		if tc.fault == "" {
			require.Empty(t, info.Faults, tc.json)
			continue
		}
		require.Contains(t, info.Faults, tc.fault, tc.json)
	}
	require.True(t, ParseInfo([]byte(`{"title":"A"}`)).PartialCredit)
	require.False(t, ParseInfo([]byte(`{"title":"A","gradingMethod":"Manual"}`)).Internal())
	require.Equal(t, "This question also needs a workspace and an external grader, which only a platform has; everything else of it runs here.",
		ParseInfo([]byte(`{"title":"A","workspaceOptions":{},"gradingMethod":"External"}`)).Needs())
	require.Empty(t, ParseInfo([]byte(`{"title":"A"}`)).Needs())
	for options, external := range map[string]bool{`{"enabled":true}`: true, `{"enabled":false}`: false, `{}`: false, `7`: false, `null`: false} {
		info := ParseInfo([]byte(`{"title":"A","gradingMethod":"External","externalGradingOptions":` + options + `}`))
		require.Equal(t, external, info.External, options)
		require.Equal(t, external, info.Needs() == "", options)
	}
	require.False(t, ParseInfo([]byte(`{"title":"A","externalGradingOptions":{"enabled":true}}`)).External, "graded by its own code")
}

func FuzzParseInfo(f *testing.F) {
	for _, s := range []string{`{"title":"A","tags":["x"],"dependencies":{"elementStyles":["a.css"]}}`, "{\n,", `[]`, `{"title":7}`, "\xff", ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		info := ParseInfo(b)
		if info.Title == "" && len(info.Faults) == 0 {
			t.Error("a question without a title has no fault")
		}
		for _, fault := range info.Faults {
			if fault == "" {
				t.Error("an empty fault")
			}
		}
	})
}
