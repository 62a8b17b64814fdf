package question

import (
	"encoding/json"
	"fmt"

	"github.com/prairielambda/prairielambda/jobs"
)

// GraderStep is the name of the step that an external grader is.
const GraderStep = "external grader"

// Grading is what a question's external grader is asked about a submission.
func (q *Question) Grading(v *Variant, s *Submission) (*jobs.Grading, error) {
	data, err := json.Marshal(s.data(v).with(Data{
		"partial_scores": or(s.PartialScores), "score": value(s.Score), "gradable": value(s.Gradable),
	}))
	if err != nil {
		return nil, fmt.Errorf("grading of %s: encode data: %w", q.QID, err)
	}
	return &jobs.Grading{Course: q.Course, Version: q.Version, Question: q.QID, Data: data}, nil
}

// Take keeps what an external grader made of the submission. One that came to no
// results scores nothing, as on PrairieLearn, and says why.
func (s *Submission) Take(g *jobs.Grade) {
	s.Graded, s.Score, s.Gradable = true, g.Score, true
	if g.State == jobs.NotGradable || len(g.FormatErrors) > 0 {
		s.Graded, s.Score, s.Gradable = false, 0, false
		s.FormatErrors = value(g.FormatErrors)
	}
	s.Feedback = value(g.Feedback)
}

// Outside is an external grader's feedback, where the submission has one.
func (s *Submission) Outside() (f *jobs.GradeFeedback, ok bool) {
	if _, ok := keys(s.Feedback)["succeeded"]; !ok {
		return nil, false
	}
	f = &jobs.GradeFeedback{}
	return f, json.Unmarshal(s.Feedback, f) == nil
}
