package question

import (
	"context"
	"encoding/json"
	"errors"
)

// ErrBroken refuses work on a variant that is broken.
var ErrBroken = errors.New("the variant is broken; nothing can be answered to it")

// Submit parses what was answered and, with grade, grades it where it can be.
// raw is an object from field names to what the browser sent.
func (q *Question) Submit(ctx context.Context, v *Variant, raw json.RawMessage, grade bool) (*Submission, error) {
	if v.Broken {
		return nil, ErrBroken
	}
	s := &Submission{
		Raw: raw, Submitted: raw, FormatErrors: empty, PartialScores: empty, Feedback: empty,
		Params: v.Params, CorrectAnswers: v.CorrectAnswers, Gradable: true,
	}
	data := s.data(v).with(Data{"gradable": value(true)})
	after, step, err := q.change(ctx, "parse", data)
	if err != nil {
		return nil, err
	}
	s.Steps = append(s.Steps, step)
	if step.Failed() {
		s.Broken, s.Gradable = true, false
		return s, nil
	}
	s.take(after)
	if !grade || !s.Gradable || !q.Info.Internal() {
		return s, nil
	}
	data = s.data(v).with(Data{
		"gradable": value(true), "partial_scores": empty, "score": value(0),
	})
	if after, step, err = q.change(ctx, "grade", data); err != nil {
		return nil, err
	}
	s.Steps = append(s.Steps, step)
	if step.Failed() {
		s.Broken = true
		return s, nil
	}
	s.take(after)
	if !s.Gradable { // grade may find what parse did not
		s.Score, s.PartialScores = 0, empty
		return s, nil
	}
	s.Graded = true
	return s, nil
}

// data is what parse and grade share.
func (s *Submission) data(v *Variant) Data {
	return v.data().with(Data{
		"params": or(s.Params), "correct_answers": or(s.CorrectAnswers),
		"raw_submitted_answers": or(s.Raw), "submitted_answers": or(s.Submitted),
		"format_errors": or(s.FormatErrors), "feedback": or(s.Feedback),
	})
}

// take keeps what a phase left.
func (s *Submission) take(d Data) {
	s.Params, s.CorrectAnswers = d.object("params"), d.object("correct_answers")
	s.Submitted, s.FormatErrors = d.object("submitted_answers"), d.object("format_errors")
	s.Feedback, s.PartialScores = d.object("feedback"), d.object("partial_scores")
	s.Gradable = string(d["gradable"]) != "false" && len(keys(s.FormatErrors)) == 0
	s.Score = 0
	if raw, ok := d["score"]; ok {
		_ = json.Unmarshal(raw, &s.Score) // the key table has made it a number
	}
}

// keys are the names of an object's members; none for anything else.
func keys(raw json.RawMessage) map[string]json.RawMessage {
	m := map[string]json.RawMessage{}
	_ = json.Unmarshal(raw, &m)
	return m
}
