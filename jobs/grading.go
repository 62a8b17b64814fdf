package jobs

import (
	"encoding/json"
	"time"
)

// Grading asks for a submission to be graded by its question's external grader:
// the program that externalGradingOptions in the question's info.json name.
type Grading struct {
	Course   string `json:"course"`
	Version  string `json:"version"` // never "current"
	Question string `json:"question"`
	// Data is PrairieLearn's data object, which the grader finds as data.json. The
	// files in its submitted_answers._files become those of the student.
	Data json.RawMessage `json:"data"`
}

// GradeState is what became of a Grading.
type GradeState string

// The states of a Grade. Only in the first two the grader itself had a say; in
// the others nothing that it wrote counts.
const (
	Graded           GradeState = "graded"
	NotGradable      GradeState = "not_gradable"      // the grader says that the submission is invalid
	GraderFailed     GradeState = "failed"            // it ended with an exit code, or a signal
	GraderTimeout    GradeState = "timeout"           // it took longer than its timeout
	GraderMemory     GradeState = "out_of_memory"     // it used more than it may
	GraderOutput     GradeState = "output_too_large"  // it printed more than it may
	GraderKilled     GradeState = "killed"            // ended from outside
	ResultsMissing   GradeState = "results_missing"   // it wrote no results.json
	ResultsMalformed GradeState = "results_malformed" // no JSON, or fields of the wrong type
	ResultsTooLarge  GradeState = "results_too_large" // more than 1 MiB
	ResultsNoFile    GradeState = "results_no_file"   // a link, pipe, directory or device of that name
)

// Grade is the last word of a Grading, in the shape that PrairieLearn stores.
type Grade struct {
	State    GradeState `json:"state"`
	Score    float64    `json:"score"` // 0 to 1; 0 unless State is Graded
	Gradable bool       `json:"gradable"`
	// FormatErrors has the grader's under the key _external_grader.
	FormatErrors map[string][]string `json:"format_errors"`
	Feedback     GradeFeedback       `json:"feedback"`
	ExitCode     int                 `json:"exit_code"`   // of the grader; -1 where it has none
	Environment  string              `json:"environment"` // NAME@DIGEST that it ran in
	Usage        Usage               `json:"usage"`
}

// GradeFeedback is what pl-external-grader-results shows.
type GradeFeedback struct {
	Succeeded bool            `json:"succeeded"` // there are results
	TimedOut  bool            `json:"timedOut,omitempty"`
	Start     time.Time       `json:"start_time"`
	End       time.Time       `json:"end_time"`
	Message   string          `json:"message,omitempty"` // for the student, where there are no results
	Results   json.RawMessage `json:"results"`           // results.json; null without
}
