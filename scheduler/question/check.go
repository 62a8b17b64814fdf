package question

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
)

// Case is the kind of submission that a question's own test makes.
type Case string

// The cases.
const (
	Correct   Case = "correct"
	Incorrect Case = "incorrect"
	Invalid   Case = "invalid"
)

// Cases are all of them.
var Cases = []Case{Correct, Incorrect, Invalid}

// Trial is a whole life of a question under one seed: a variant, its panels, and
// for each case the submission that the question's test makes.
type Trial struct {
	Seed     uint32        `json:"seed"`
	Calls    int           `json:"calls"` // phases that ran
	Wall     time.Duration `json:"wall"`
	Problems []Problem     `json:"problems,omitempty"`
	Scores   map[Case]any  `json:"scores,omitempty"` // a number, or "format error"; absent where there was no test
}

// Problem is one thing that went wrong.
type Problem struct {
	Phase   string       `json:"phase"`
	Case    Case         `json:"case,omitempty"`
	Outcome jobs.Outcome `json:"outcome,omitempty"` // empty where the code ran and its result is not as promised
	Message string       `json:"message"`
	Trace   string       `json:"traceback,omitempty"`
	Output  string       `json:"output,omitempty"`
	Warning bool         `json:"warning,omitempty"` // console output only
}

// Fails reports whether anything but warnings happened.
func (t *Trial) Fails() bool {
	return slices.ContainsFunc(t.Problems, func(p Problem) bool { return !p.Warning })
}

func (t *Trial) note(c Case, steps ...Step) {
	for _, s := range steps {
		t.Calls++
		p := Problem{Phase: s.Name, Case: c, Outcome: s.Outcome, Message: s.Message, Trace: s.Trace, Output: s.Output}
		switch {
		case s.Failed():
			t.Problems = append(t.Problems, p)
		case s.Output != "":
			p.Outcome, p.Message, p.Warning = "", "wrote to the console", true
			t.Problems = append(t.Problems, p)
		}
	}
}

// Try runs a trial. An error is ours.
func (q *Question) Try(ctx context.Context, seed uint32, cases []Case) (*Trial, error) {
	start := time.Now()
	t := &Trial{Seed: seed, Scores: map[Case]any{}}
	defer func() { t.Wall = time.Since(start) }()
	v, err := q.Generate(ctx, seed)
	if err != nil {
		return nil, err
	}
	t.note("", v.Steps...)
	if v.Broken {
		return t, nil
	}
	for _, p := range []Panel{QuestionPanel, AnswerPanel} {
		_, step, err := q.Render(ctx, v, p, View{Editable: p == QuestionPanel, Revealed: p == AnswerPanel})
		if err != nil {
			return nil, err
		}
		t.note("", step)
	}
	for _, c := range cases {
		if err := q.try(ctx, t, v, c); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// promise is what a test says will become of its submission.
type promise struct {
	Raw           json.RawMessage            `json:"raw_submitted_answers"`
	FormatErrors  map[string]json.RawMessage `json:"format_errors"`
	PartialScores map[string]json.RawMessage `json:"partial_scores"`
	Score         float64                    `json:"score"`
	Gradable      *bool                      `json:"gradable"`
}

func (q *Question) try(ctx context.Context, t *Trial, v *Variant, c Case) error {
	data := v.data().with(Data{
		"raw_submitted_answers": empty, "format_errors": empty, "partial_scores": empty, "feedback": empty,
		"score": value(0), "gradable": value(true), "test_type": value(string(c)),
	})
	after, step, err := q.change(ctx, "test", data)
	if err != nil {
		return err
	}
	t.note(c, step)
	if step.Failed() {
		return nil
	}
	var want promise
	whole, err := json.Marshal(after)
	if err == nil {
		err = json.Unmarshal(whole, &want)
	}
	if err != nil {
		t.Problems = append(t.Problems, Problem{Phase: "test", Case: c, Message: "test left a promise that cannot be read: " + err.Error()})
		return nil
	}
	if len(keys(want.Raw)) == 0 && len(want.PartialScores) == 0 && len(want.FormatErrors) == 0 {
		return nil // nobody tests this case
	}
	s, err := q.Submit(ctx, v, or(want.Raw), true)
	if err != nil {
		return err
	}
	t.note(c, s.Steps...)
	if s.Broken {
		return nil
	}
	if !s.Gradable {
		t.Scores[c] = "format error"
	} else if s.Graded {
		t.Scores[c] = s.Score
	}
	if broken := want.compare(s); broken != "" {
		t.Problems = append(t.Problems, Problem{Phase: "test", Case: c, Message: broken})
	}
	_, step, err = q.Render(ctx, v, SubmissionPanel, View{Last: s})
	if err != nil {
		return err
	}
	t.note(c, step)
	return nil
}

const tolerance = 1e-6

// compare says how a submission broke what its test promised; empty if it did not.
func (w *promise) compare(s *Submission) string {
	wantGradable := len(w.FormatErrors) == 0 && (w.Gradable == nil || *w.Gradable)
	got := keys(s.FormatErrors)
	switch {
	case wantGradable && !s.Gradable:
		return fmt.Sprintf("the answers should be gradable, but %s has a format error", list(got))
	case !wantGradable && s.Gradable:
		return fmt.Sprintf("%s should have a format error, but was accepted", list(w.FormatErrors))
	case !wantGradable:
		for name := range w.FormatErrors {
			if _, ok := got[name]; !ok {
				return fmt.Sprintf("%q should have a format error; only %s has", name, list(got))
			}
		}
		return ""
	case !s.Graded:
		return ""
	}
	parts := keys(s.PartialScores)
	for name, raw := range w.PartialScores {
		if a, b := score(raw), score(parts[name]); math.Abs(a-b) > tolerance {
			return fmt.Sprintf("%q should score %g, got %g", name, a, b)
		}
	}
	if math.Abs(w.Score-s.Score) > tolerance {
		return fmt.Sprintf("the score should be %g, got %g", w.Score, s.Score)
	}
	return ""
}

func score(raw json.RawMessage) float64 {
	var part struct {
		Score float64 `json:"score"`
	}
	_ = json.Unmarshal(raw, &part)
	return part.Score
}

func list(m map[string]json.RawMessage) string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, fmt.Sprintf("%q", n))
	}
	if len(names) == 0 {
		return "nothing"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
