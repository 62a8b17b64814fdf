package runs

import (
	"context"
	"encoding/json"

	"github.com/prairielambda/prairielambda/jobs"
)

// grade is a grading that has its place. Its last frame is the jobs.Grade, and its
// status 0 where the grader had a say.
func (s *Store) grade(ctx context.Context, w *writer, id string, g *jobs.Grading) ending {
	if s.cfg.Grade == nil {
		return s.failed(ctx, w, id, &jobs.Error{Code: "grader_missing", Message: "nothing is graded here"})
	}
	res, err := s.cfg.Grade(ctx, g, w)
	w.flush()
	var report []byte
	if err == nil {
		report, err = json.Marshal(res)
	}
	if err != nil {
		return s.failed(ctx, w, id, err)
	}
	w.report(jobs.FrameGrade, report)
	if res.Feedback.Succeeded {
		return ending{Outcome: jobs.OK}
	}
	return ending{Status: 1, Outcome: outcomeOf(res.State), Message: res.Feedback.Message}
}

// outcomeOf says in the words of runs how a grader without results ended.
func outcomeOf(s jobs.GradeState) jobs.Outcome {
	switch o := jobs.Outcome(s); o {
	case jobs.Timeout, jobs.OutOfMemory, jobs.OutputTooLarge, jobs.Killed:
		return o
	}
	return jobs.QuestionError
}
