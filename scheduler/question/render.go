package question

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/prairielambda/prairielambda/jobs"
)

// Panel names what a render shows.
type Panel string

// The panels.
const (
	QuestionPanel   Panel = "question"
	SubmissionPanel Panel = "submission"
	AnswerPanel     Panel = "answer"
)

// View is what a render is told about its surroundings.
type View struct {
	Last     *Submission // the newest, or the one shown; nil for none
	Valid    int         // submissions so far that could be graded
	Editable bool        // the form still takes answers
	Revealed bool        // the correct answer may be seen
}

// Render renders one panel. The HTML of a panel whose code failed is empty.
func (q *Question) Render(ctx context.Context, v *Variant, p Panel, view View) (html string, step Step, err error) {
	if v.Broken {
		return "", Step{}, ErrBroken
	}
	data := q.shown(v, view).with(Data{
		"panel": value(string(p)), "editable": value(view.Editable && p == QuestionPanel),
		"manual_grading": value(false), "ai_grading": value(false), "correct_answer_shown": value(view.Revealed),
		"num_valid_submissions": value(view.Valid),
	})
	step, c, err := q.phase(ctx, "render", "render "+string(p), data)
	if err != nil || step.Failed() || c.HTML == nil {
		return "", step, err
	}
	return *c.HTML, step, nil
}

// File asks the question for a file of its own making. missing says that the
// question makes none.
func (q *Question) File(ctx context.Context, v *Variant, name string, view View) (content []byte, step Step, err error) {
	if v.Broken {
		return nil, Step{}, ErrBroken
	}
	data := q.shown(v, view).with(Data{"filename": value(name), "num_valid_submissions": value(view.Valid)})
	step, c, err := q.phase(ctx, "file", "file "+name, data)
	if err != nil || step.Outcome == jobs.Missing {
		return nil, step, err
	}
	return c.File, step, nil
}

// shown is the data of phases that look and change nothing.
func (q *Question) shown(v *Variant, view View) Data {
	s := view.Last
	if s == nil {
		s = &Submission{Params: v.Params, CorrectAnswers: v.CorrectAnswers}
	}
	d := s.data(v).with(Data{"partial_scores": or(s.PartialScores), "score": value(s.Score)})
	d["options"] = merged(d["options"], q.Options)
	return d
}

// merged adds options to an object.
func merged(raw json.RawMessage, more map[string]any) json.RawMessage {
	all := map[string]any{}
	_ = json.Unmarshal(raw, &all)
	maps.Copy(all, more)
	b, err := json.Marshal(all)
	if err != nil {
		return raw
	}
	return b
}
