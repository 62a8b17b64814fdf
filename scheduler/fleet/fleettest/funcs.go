package fleettest

import (
	"context"
	"encoding/json"

	"github.com/prairielambda/prairielambda/jobs"
)

// Data returns a Func whose result is the data object after change.
func Data(change func(data map[string]any)) Func {
	return func(_ context.Context, _ jobs.Call, data map[string]any) jobs.CallResult {
		change(data)
		return OK(data)
	}
}

// OK is a good result with data.
func OK(data map[string]any) jobs.CallResult {
	b, err := json.Marshal(data)
	if err != nil {
		return jobs.CallResult{Outcome: jobs.QuestionError, Message: err.Error()}
	}
	return jobs.CallResult{Outcome: jobs.OK, Data: b}
}

// HTML returns a Func that renders with render.
func HTML(render func(call jobs.Call, data map[string]any) string) Func {
	return func(_ context.Context, call jobs.Call, data map[string]any) jobs.CallResult {
		html := render(call, data)
		return jobs.CallResult{Outcome: jobs.OK, HTML: &html}
	}
}

// File returns a Func that answers content.
func File(content string) Func {
	return func(context.Context, jobs.Call, map[string]any) jobs.CallResult {
		return jobs.CallResult{Outcome: jobs.OK, File: []byte(content)}
	}
}

// Fate returns a Func that ends with res, whatever its data.
func Fate(res jobs.CallResult) Func {
	return func(context.Context, jobs.Call, map[string]any) jobs.CallResult { return res }
}

// Wait returns a Func that runs until its caller leaves.
func Wait() Func {
	return func(ctx context.Context, _ jobs.Call, data map[string]any) jobs.CallResult {
		<-ctx.Done()
		return OK(data)
	}
}
