package runs

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

func TestAGradingEndsWithItsGrade(t *testing.T) {
	answers := map[string]func() (*jobs.Grade, error){
		"good": func() (*jobs.Grade, error) {
			return &jobs.Grade{State: jobs.Graded, Score: 1, Feedback: jobs.GradeFeedback{Succeeded: true}}, nil
		},
		"slow": func() (*jobs.Grade, error) {
			return &jobs.Grade{State: jobs.GraderTimeout, Feedback: jobs.GradeFeedback{TimedOut: true, Message: "slow"}}, nil
		},
		"odd": func() (*jobs.Grade, error) {
			return &jobs.Grade{State: jobs.ResultsNoFile, Feedback: jobs.GradeFeedback{Message: "a link"}}, nil
		},
		"none": func() (*jobs.Grade, error) { return nil, &jobs.Error{Code: "grader_missing", Message: "no image"} },
		"ours": func() (*jobs.Grade, error) { return nil, errors.New("secret") },
	}
	s := open(t, t.TempDir(), hello, func(c *Config) {
		c.Grade = func(_ context.Context, g *jobs.Grading, w Watcher) (*jobs.Grade, error) {
			w.Begin("run", "", nil)
			w.Output(false, []byte("testing"))
			return answers[g.Question]()
		}
	})
	for q, want := range map[string]struct {
		last    string
		status  int
		outcome jobs.Outcome
		message string
	}{
		"good": {"grade", 0, jobs.OK, ""},
		"slow": {"grade", 1, jobs.Timeout, "slow"},
		"odd":  {"grade", 1, jobs.QuestionError, "a link"},
		"none": {"console: no image", -1, jobs.Missing, "no image"},
		"ours": {"internal_error: the worker failed to run the program; start it again", -1, jobs.Killed, "the worker failed to run the program; start it again"},
	} {
		id, err := s.Create(&jobs.RunRequest{Owner: "me", Grading: &jobs.Grading{Question: q}})
		require.NoError(t, err)
		said, last := follow(t, s, id)
		require.Len(t, said, 2)
		require.Equal(t, "stdout: testing", said[0])
		require.Contains(t, said[1], want.last)
		require.Equal(t, want.status, last.Status)
		require.Equal(t, want.outcome, last.Outcome)
		require.Equal(t, want.message, last.Message)
	}
	// Where nothing is graded, that is said.
	s = open(t, t.TempDir(), hello, nil)
	id, err := s.Create(&jobs.RunRequest{Owner: "me", Grading: &jobs.Grading{}})
	require.NoError(t, err)
	said, _ := follow(t, s, id)
	require.Equal(t, []string{"console: nothing is graded here"}, said)
}
