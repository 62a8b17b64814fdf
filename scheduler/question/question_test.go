package question

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

// script answers phases in the place of a sandbox: the rules between phases are
// what is tested here, and each answer is what a shim could have sent.
type script struct {
	t      *testing.T
	answer map[string]func(data Data) jobs.CallResult // by method
	calls  []string
}

func (s *script) Invoke(_ context.Context, inv *jobs.Invocation) (*jobs.Result, error) {
	require.Len(s.t, inv.Calls, 1, "each phase is a session of its own")
	require.Equal(s.t, jobs.Phase, inv.Calls[0].Type)
	require.Equal(s.t, "v1", inv.Version)
	method := inv.Calls[0].Method
	var d Data
	require.NoError(s.t, json.Unmarshal(inv.Data, &d))
	if method == "render" {
		method += " " + strings.Trim(string(d["panel"]), `"`)
	}
	s.calls = append(s.calls, method)
	f := s.answer[method]
	if f == nil {
		if strings.HasPrefix(method, "render") {
			html := "<p>fine</p>"
			return &jobs.Result{Calls: []jobs.CallResult{{Outcome: jobs.OK, HTML: &html}}}, nil
		}
		f = func(d Data) jobs.CallResult { return left(d) }
	}
	return &jobs.Result{Calls: []jobs.CallResult{f(d)}}, nil
}

func left(d Data) jobs.CallResult {
	b, _ := json.Marshal(d)
	return jobs.CallResult{Outcome: jobs.OK, Data: b}
}

func raise(Data) jobs.CallResult {
	return jobs.CallResult{Outcome: jobs.QuestionError, Message: "it raised", Traceback: "Traceback"}
}

func set(key, value string) func(Data) jobs.CallResult {
	return func(d Data) jobs.CallResult { return left(d.with(Data{key: json.RawMessage(value)})) }
}

func newQuestion(t *testing.T, answer map[string]func(Data) jobs.CallResult) (*Question, *script) {
	s := &script{t: t, answer: answer}
	return &Question{Runner: s, Course: "c", Version: "v1", QID: "q"}, s
}

type answers = map[string]func(Data) jobs.CallResult

func TestAVariantIsGeneratedThenPrepared(t *testing.T) {
	q, s := newQuestion(t, answers{
		"generate": set("params", `{"a":1}`),
		"prepare": func(d Data) jobs.CallResult {
			require.JSONEq(t, `{"a":1}`, string(d["params"]))
			require.JSONEq(t, `{}`, string(d["answers_names"]))
			require.Equal(t, "7", string(d["variant_seed"]))
			return left(d.with(Data{"correct_answers": json.RawMessage(`{"x":2}`)}))
		},
	})
	v, err := q.Generate(t.Context(), 7)
	require.NoError(t, err)
	require.False(t, v.Broken)
	require.JSONEq(t, `{"a":1}`, string(v.Params))
	require.JSONEq(t, `{"x":2}`, string(v.CorrectAnswers))
	require.Equal(t, []string{"generate", "prepare"}, s.calls)
}

func TestABrokenVariantNeverRunsAgain(t *testing.T) {
	for _, phase := range []string{"generate", "prepare"} {
		q, s := newQuestion(t, answers{phase: raise})
		v, err := q.Generate(t.Context(), 1)
		require.NoError(t, err)
		require.True(t, v.Broken)
		require.True(t, v.Steps[len(v.Steps)-1].Failed())
		ran := len(s.calls)
		_, err = q.Submit(t.Context(), v, empty, true)
		require.ErrorIs(t, err, ErrBroken)
		_, _, err = q.Render(t.Context(), v, QuestionPanel, View{})
		require.ErrorIs(t, err, ErrBroken)
		_, _, err = q.File(t.Context(), v, "x.png", View{})
		require.ErrorIs(t, err, ErrBroken)
		require.Len(t, s.calls, ran)
	}
}

func TestOurOwnFailureBreaksNothing(t *testing.T) {
	ours := errors.New("no sandbox")
	q := &Question{Runner: runnerFunc(func() (*jobs.Result, error) { return nil, ours }), QID: "q"}
	_, err := q.Generate(t.Context(), 1)
	require.ErrorIs(t, err, ours)
	_, err = q.Submit(t.Context(), &Variant{}, empty, true)
	require.ErrorIs(t, err, ours)
	q.Runner = runnerFunc(func() (*jobs.Result, error) { return &jobs.Result{}, nil })
	_, err = q.Generate(t.Context(), 1)
	require.ErrorContains(t, err, "0 answers")
}

type runnerFunc func() (*jobs.Result, error)

func (f runnerFunc) Invoke(context.Context, *jobs.Invocation) (*jobs.Result, error) { return f() }

func TestSubmissions(t *testing.T) {
	v := &Variant{Seed: 1, Params: empty, CorrectAnswers: empty}
	graded := func(d Data) jobs.CallResult {
		return left(d.with(Data{"score": json.RawMessage("0.5"), "partial_scores": json.RawMessage(`{"x":{"score":0.5}}`)}))
	}
	for _, tc := range []struct {
		name   string
		answer answers
		info   Info
		save   bool
		calls  []string
		check  func(*Submission)
	}{
		{"graded", answers{"grade": graded}, Info{}, false, []string{"parse", "grade"}, func(s *Submission) {
			require.True(t, s.Graded && s.Gradable && !s.Broken)
			require.InDelta(t, 0.5, s.Score, 0)
		}},
		{"saved only", nil, Info{}, true, []string{"parse"}, func(s *Submission) { require.True(t, s.Gradable && !s.Graded) }},
		{"format errors are not graded", answers{"parse": set("format_errors", `{"x":"no"}`)}, Info{}, false, []string{"parse"}, func(s *Submission) {
			require.False(t, s.Gradable || s.Graded || s.Broken)
		}},
		{"not gradable is not graded", answers{"parse": set("gradable", `false`)}, Info{}, false, []string{"parse"}, func(s *Submission) { require.False(t, s.Gradable) }},
		{"parse raises", answers{"parse": raise}, Info{}, false, []string{"parse"}, func(s *Submission) {
			require.True(t, s.Broken)
			require.JSONEq(t, `{"x":"1"}`, string(s.Submitted), "the data is what it was before")
		}},
		{"grade raises", answers{"parse": set("submitted_answers", `{"x":1}`), "grade": raise}, Info{}, false, []string{"parse", "grade"}, func(s *Submission) {
			require.True(t, s.Broken && !s.Graded)
			require.JSONEq(t, `{"x":1}`, string(s.Submitted))
		}},
		{"grade finds a format error", answers{"grade": func(d Data) jobs.CallResult {
			return left(d.with(Data{"format_errors": json.RawMessage(`{"x":"no"}`), "score": json.RawMessage("1")}))
		}}, Info{}, false, []string{"parse", "grade"}, func(s *Submission) {
			require.False(t, s.Graded || s.Gradable)
			require.Zero(t, s.Score)
		}},
		{"external grading", nil, Info{GradingMethod: "External"}, false, []string{"parse"}, func(s *Submission) { require.True(t, s.Gradable && !s.Graded) }},
		{"data is no object any more", answers{"parse": func(Data) jobs.CallResult { return jobs.CallResult{Outcome: jobs.OK, Data: json.RawMessage(`[]`)} }}, Info{}, false, []string{"parse"}, func(s *Submission) {
			require.True(t, s.Broken)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q, s := newQuestion(t, tc.answer)
			q.Info = tc.info
			sub, err := q.Submit(t.Context(), v, json.RawMessage(`{"x":"1"}`), !tc.save)
			require.NoError(t, err)
			require.Equal(t, tc.calls, s.calls)
			require.JSONEq(t, `{"x":"1"}`, string(sub.Raw), "what was sent stays")
			tc.check(sub)
		})
	}
}

func TestAFailedPanelIsEmpty(t *testing.T) {
	q, _ := newQuestion(t, answers{"render answer": raise})
	q.Options = map[string]any{"base_url": "/"}
	v := &Variant{Options: json.RawMessage(`{"mine":1}`)}
	html, step, err := q.Render(t.Context(), v, AnswerPanel, View{})
	require.NoError(t, err)
	require.Empty(t, html)
	require.True(t, step.Failed())
	html, step, err = q.Render(t.Context(), v, QuestionPanel, View{})
	require.NoError(t, err)
	require.Equal(t, "<p>fine</p>", html)
	require.Contains(t, string(step.Before), `"base_url":"/"`)
	require.Contains(t, string(step.Before), `"mine":1`)
}

func TestATrialHoldsTheQuestionToItsTest(t *testing.T) {
	promise := func(d Data) jobs.CallResult {
		switch string(d["test_type"]) {
		case `"correct"`:
			return left(d.with(Data{"raw_submitted_answers": json.RawMessage(`{"x":"2"}`), "score": json.RawMessage("1"), "partial_scores": json.RawMessage(`{"x":{"score":1}}`)}))
		case `"incorrect"`:
			return left(d.with(Data{"raw_submitted_answers": json.RawMessage(`{"x":"3"}`), "partial_scores": json.RawMessage(`{"x":{"score":0}}`)}))
		}
		return left(d.with(Data{"raw_submitted_answers": json.RawMessage(`{"x":"?"}`), "format_errors": json.RawMessage(`{"x":"no"}`)}))
	}
	parse := func(d Data) jobs.CallResult {
		if strings.Contains(string(d["raw_submitted_answers"]), "?") {
			d["format_errors"] = json.RawMessage(`{"x":"not a number"}`)
		}
		return left(d)
	}
	grade := func(right string) func(d Data) jobs.CallResult {
		return func(d Data) jobs.CallResult {
			if strings.Contains(string(d["raw_submitted_answers"]), right) {
				return left(d.with(Data{"score": json.RawMessage("1"), "partial_scores": json.RawMessage(`{"x":{"score":1}}`)}))
			}
			return left(d.with(Data{"score": json.RawMessage("0"), "partial_scores": json.RawMessage(`{"x":{"score":0}}`)}))
		}
	}
	q, _ := newQuestion(t, answers{"test": promise, "parse": parse, "grade": grade("2")})
	trial, err := q.Try(t.Context(), 1, Cases)
	require.NoError(t, err)
	require.False(t, trial.Fails(), "%v", trial.Problems)
	require.Equal(t, map[Case]any{Correct: 1.0, Incorrect: 0.0, Invalid: "format error"}, trial.Scores)

	q, _ = newQuestion(t, answers{"test": promise, "parse": parse, "grade": grade("3")})
	trial, err = q.Try(t.Context(), 1, Cases)
	require.NoError(t, err)
	require.True(t, trial.Fails())
	require.Equal(t, `"x" should score 1, got 0`, trial.Problems[0].Message)
	require.Equal(t, Correct, trial.Problems[0].Case)

	q, _ = newQuestion(t, answers{"test": promise, "grade": grade("2")}) // nothing is refused
	trial, err = q.Try(t.Context(), 1, []Case{Invalid})
	require.NoError(t, err)
	require.Equal(t, `"x" should have a format error, but was accepted`, trial.Problems[0].Message)

	q, _ = newQuestion(t, answers{"render question": func(Data) jobs.CallResult {
		html := "x"
		return jobs.CallResult{Outcome: jobs.OK, HTML: &html, Output: "debug"}
	}})
	trial, err = q.Try(t.Context(), 1, Cases)
	require.NoError(t, err)
	require.False(t, trial.Fails(), "console output is a warning")
	require.Len(t, trial.Problems, 1)
	require.Empty(t, trial.Scores, "a question without a test is not tested")
}
