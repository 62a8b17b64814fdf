package scheduler

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/recipe"
	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/runs"
)

type document struct {
	OpenAPI    string                               `json:"openapi"`
	Paths      map[string]map[string]map[string]any `json:"paths"`
	Components struct {
		Schemas map[string]struct {
			Properties map[string]any `json:"properties"`
			Required   []string       `json:"required"`
		} `json:"schemas"`
	} `json:"components"`
}

func parsed(t *testing.T) (d document) {
	t.Helper()
	require.NoError(t, json.Unmarshal(openapi, &d))
	require.Equal(t, "3.1.0", d.OpenAPI)
	return d
}

func TestTheDocumentHasExactlyTheRoutes(t *testing.T) {
	var want, got []string
	for _, e := range endpoints() {
		want = append(want, strings.ToLower(e.method)+" "+strings.ReplaceAll(e.pattern, "...", ""))
	}
	for path, ops := range parsed(t).Paths {
		for method, op := range ops {
			got = append(got, method+" "+path)
			require.NotEmpty(t, op["summary"])
			require.NotEmpty(t, op["responses"])
			params, _ := json.Marshal(op["parameters"])
			for seg := range strings.SplitSeq(path, "/") {
				if name, ok := strings.CutPrefix(seg, "{"); ok {
					require.Contains(t, string(params), strings.TrimSuffix(name, "}"), path)
				}
			}
		}
	}
	require.ElementsMatch(t, want, got)
}

func TestTheDocumentHasExactlyTheFields(t *testing.T) {
	d := parsed(t)
	types := map[string]reflect.Type{}
	for name, v := range map[string]any{
		"Error": jobs.Error{}, "Call": callBody{}, "Batch": batchBody{}, "Item": batchItem{}, "BatchAnswer": batchAnswer{},
		"ItemAnswer": itemAnswer{}, "Result": fullResult{}, "Usage": jobs.Usage{}, "Limits": jobs.Limits{}, "Runtime": jobs.Runtime{},
		"Run": runBody{}, "Recipe": recipe.Recipe{}, "ProgramFile": jobs.ProgramFile{}, "ProgramCase": jobs.ProgramCase{}, "ProgramResult": jobs.ProgramResult{},
		"Submission": runs.Submission{}, "Poll": runs.Poll{}, "Output": runs.Output{}, "OutputItem": runs.Item{}, "Msg": runs.Msg{},
		"Lines": runs.Lines{}, "Frame": runs.Frame{}, "FrameItem": runs.FrameItem{},
		"Step": jobs.Step{}, "CaseResult": jobs.CaseResult{}, "Grading": gradeBody{}, "Grade": jobs.Grade{}, "GradeFeedback": jobs.GradeFeedback{},
	} {
		types[name] = reflect.TypeOf(v)
	}
	for name, schema := range d.Components.Schemas {
		require.Contains(t, types, name)
		var got []string
		for p := range schema.Properties {
			got = append(got, p)
		}
		require.ElementsMatch(t, fields(types[name]), got, name)
		for _, r := range schema.Required {
			require.Contains(t, got, r, name)
		}
	}
	require.Len(t, d.Components.Schemas, len(types))
}

// fields are the JSON names of a struct's fields.
func fields(t reflect.Type) (names []string) {
	for f := range slices.Values(reflect.VisibleFields(t)) {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag != "" {
			names = append(names, tag)
		}
	}
	return names
}

func TestReferencesLeadSomewhere(t *testing.T) {
	var whole any
	require.NoError(t, json.Unmarshal(openapi, &whole))
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				at := whole
				for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
					m, _ := at.(map[string]any)
					at = m[part]
				}
				require.NotNil(t, at, ref)
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(whole)
}
