// Package question holds the rules between a question's phases: which phase
// runs when, on which data, and what its failure breaks.
//
// It guarantees PrairieLearn's life cycle. Each phase is one session in one
// fresh sandbox. A fault in generate or prepare breaks the variant, one in parse
// or grade the submission; what is broken is never run again. Format errors make
// a submission ungradable. A fault in render is an issue and an empty panel.
// Console output is an issue that is not fatal. After a fault the data is what it
// was before.
//
// An error is ours and says nothing about the course; what course code does ends
// up in a Step. The package keeps nothing: variants and submissions are values.
package question

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
)

// Runner runs an invocation in a fresh sandbox. It is safe for concurrent use. An
// error means that the sandbox could not be had; the fate of the code that ran is
// in the result, which has one answer a call.
type Runner interface {
	Invoke(ctx context.Context, inv *jobs.Invocation) (*jobs.Result, error)
}

// Question is one question of one version of a course.
type Question struct {
	Runner  Runner
	Course  string
	Version string // never "current": all phases of a variant run the same code
	QID     string
	Info    Info
	// Options are added to data["options"] in render and file: URLs, mostly.
	Options map[string]any
}

// Data is PrairieLearn's data object, by key.
type Data map[string]json.RawMessage

var empty = json.RawMessage("{}")

// Variant is a question made concrete by a seed.
type Variant struct {
	Seed           uint32          `json:"seed"`
	Params         json.RawMessage `json:"params"`
	CorrectAnswers json.RawMessage `json:"correct_answers"`
	Options        json.RawMessage `json:"options"`
	Broken         bool            `json:"broken"` // only its steps say why; nothing of it runs
	Steps          []Step          `json:"steps"`  // generate, prepare
}

// Submission is what was answered to a variant, and what became of it.
type Submission struct {
	Raw            json.RawMessage `json:"raw_submitted_answers"`
	Submitted      json.RawMessage `json:"submitted_answers"`
	FormatErrors   json.RawMessage `json:"format_errors"`
	PartialScores  json.RawMessage `json:"partial_scores"`
	Feedback       json.RawMessage `json:"feedback"`
	Params         json.RawMessage `json:"params"`
	CorrectAnswers json.RawMessage `json:"correct_answers"`
	Score          float64         `json:"score"`
	Gradable       bool            `json:"gradable"`
	Graded         bool            `json:"graded"`
	Broken         bool            `json:"broken"`
	Steps          []Step          `json:"steps"` // parse, grade or the external grader
}

// Step is one phase that ran, as its author wants to see it.
type Step struct {
	Name    string          `json:"name"` // the phase; of render with its panel
	Before  json.RawMessage `json:"before"`
	After   json.RawMessage `json:"after,omitempty"` // absent where the phase failed or changes nothing
	Outcome jobs.Outcome    `json:"outcome"`
	Message string          `json:"message,omitempty"`
	Trace   string          `json:"traceback,omitempty"`
	Output  string          `json:"output,omitempty"`
	Timings []jobs.Timing   `json:"timings,omitempty"`
	Phases  jobs.Phases     `json:"phases"`
	Usage   jobs.Usage      `json:"usage"`
	Wall    time.Duration   `json:"wall"` // as the caller saw it
	Tier    string          `json:"tier"`
}

// Failed reports whether the phase ended badly. A method that is not there is not a failure.
func (s *Step) Failed() bool { return s.Outcome != jobs.OK }

// Issues reports whether there is something that the course's staff should see. A
// grader prints as it likes.
func (s *Step) Issues() bool { return s.Failed() || s.Output != "" && s.Name != GraderStep }

// phase runs one phase on data and says what came of it.
func (q *Question) phase(ctx context.Context, method, name string, data Data) (Step, jobs.CallResult, error) {
	before, err := json.Marshal(data)
	if err != nil {
		return Step{}, jobs.CallResult{}, fmt.Errorf("%s of %s: encode data: %w", method, q.QID, err)
	}
	start := time.Now()
	res, err := q.Runner.Invoke(ctx, &jobs.Invocation{
		Course: q.Course, Version: q.Version, Question: q.QID, Data: before,
		Calls: []jobs.Call{{Type: jobs.Phase, Name: q.QID, Method: method}},
	})
	if err != nil {
		return Step{}, jobs.CallResult{}, fmt.Errorf("%s of %s: %w", method, q.QID, err)
	}
	if len(res.Calls) != 1 {
		return Step{}, jobs.CallResult{}, fmt.Errorf("%s of %s: %d answers to one call", method, q.QID, len(res.Calls))
	}
	c := res.Calls[0]
	return Step{
		Name: name, Before: before, After: c.Data, Outcome: c.Outcome, Message: c.Message, Trace: c.Traceback, Output: c.Output,
		Timings: c.Timings, Phases: res.Phases, Usage: res.Usage, Wall: time.Since(start), Tier: res.Tier,
	}, c, nil
}

// change runs a phase that edits data; after a failure data is what it was.
func (q *Question) change(ctx context.Context, method string, data Data) (Data, Step, error) {
	step, c, err := q.phase(ctx, method, method, data)
	if err != nil || step.Failed() {
		return data, step, err
	}
	after := Data{}
	if err := json.Unmarshal(c.Data, &after); err != nil {
		step.Outcome, step.Message, step.After = jobs.QuestionError, "the data object is no object any more: "+err.Error(), nil
		return data, step, nil
	}
	return after, step, nil
}

// Generate makes the variant of a seed: generate, then prepare.
func (q *Question) Generate(ctx context.Context, seed uint32) (*Variant, error) {
	v := &Variant{Seed: seed, Params: empty, CorrectAnswers: empty, Options: empty}
	for _, method := range []string{"generate", "prepare"} {
		data := v.data()
		if method == "prepare" {
			data["answers_names"] = empty
		}
		after, step, err := q.change(ctx, method, data)
		if err != nil {
			return nil, err
		}
		v.Steps = append(v.Steps, step)
		if step.Failed() {
			v.Broken = true
			return v, nil
		}
		v.Params, v.CorrectAnswers, v.Options = after.object("params"), after.object("correct_answers"), after.object("options")
	}
	return v, nil
}

func (v *Variant) data() Data {
	return Data{
		"params": or(v.Params), "correct_answers": or(v.CorrectAnswers), "options": or(v.Options), "preferences": empty,
		"variant_seed": value(v.Seed),
	}
}

// with adds keys to data and returns it.
func (d Data) with(more Data) Data {
	maps.Copy(d, more)
	return d
}

func (d Data) object(key string) json.RawMessage { return or(d[key]) }

func or(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return empty
	}
	return raw
}

// value encodes what always can be.
func value(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers, strings and booleans only
	}
	return b
}
