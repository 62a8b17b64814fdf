package jobs

import "encoding/json"

// RunRequest asks a worker for an asynchronous run: POST /v1/runs -> RunCreated.
// The run is on the worker's disk before the answer. It is a Program's, or, where
// there is a Grading, that one's.
type RunRequest struct {
	Owner   string   `json:"owner"` // who may read it; compared, never shown
	Program Program  `json:"program,omitzero"`
	Grading *Grading `json:"grading,omitempty"`
}

// RunCreated names a run. ID is a plain word of at most 64 bytes that nobody can guess.
type RunCreated struct {
	ID string `json:"id"`
}

// The types of a RunFrame.
const (
	FrameConsole  = "console" // what the steps themselves say: commands, build lines
	FrameStdout   = "stdout"
	FrameStderr   = "stderr"
	FrameLab      = "lab"            // once, at the end of a run with cases: a LabReport
	FrameGrade    = "grade"          // once, at the end of a grading: a Grade
	FrameInternal = "internal_error" // our own failure
)

// RunFrame is one line of a run's output (without its newline; a last line
// without one, and lines cut at 64 KiB, are frames too), or a report.
type RunFrame struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`          // a string, or the object of a report
	Ref  string          `json:"ref,omitempty"` // name of the case that it belongs to
}

// RunChunk answers GET /v1/runs/{id}?owner=O&from=N&wait=MS: the frames from
// number N on. With wait it is sent as soon as there is one, or the run has
// completed, or the time is over. An unknown id and another owner are both 404
// run_missing.
type RunChunk struct {
	Frames    []RunFrame `json:"frames"`
	Completed bool       `json:"completed"` // no frame follows these
	Status    int        `json:"status"`    // exit code of the last step, of a lab 0 or 1, once completed
	Outcome   Outcome    `json:"outcome,omitempty"`
	Message   string     `json:"message,omitempty"` // one line for people, when Outcome is not OK
	Dropped   bool       `json:"dropped,omitempty"` // output past the spool's bound was thrown away
}

// LabReport is the data of a FrameLab.
type LabReport struct {
	Success bool               `json:"success"`
	Cases   map[string]LabCase `json:"cases"`
}

// LabCase is one case of a LabReport.
type LabCase struct {
	Status string `json:"status"` // Success, Failed or Error
	In     string `json:"in"`
	Out    string `json:"out"` // what was expected
	Actual string `json:"actual"`
}

// RunMissing is the code of the 404 for runs.
const RunMissing = "run_missing"
