// Package jobs is the vocabulary that gateway and worker share: what is asked of
// a sandbox, and what became of it. It holds words only; the packages below it
// do the work.
//
// It keeps two kinds of failure apart. An Outcome is the fate of the course's
// code and travels as data. A Go error, or an HTTP 5xx between gateway and
// worker, means that we failed and that the call may be tried elsewhere.
package jobs

import (
	"encoding/json"
	"time"
)

// Outcome is what became of the code that was run.
type Outcome string

// The outcomes. Only OK carries a usable result.
const (
	OK             Outcome = "ok"
	QuestionError  Outcome = "question_error"   // raised, or returned something invalid
	BuildFailed    Outcome = "build_failed"     // a program's build step failed
	Timeout        Outcome = "timeout"          // its own wall or CPU limit
	OutOfMemory    Outcome = "out_of_memory"    // its own memory limit
	OutputTooLarge Outcome = "output_too_large" // stdout, stderr or the result
	Killed         Outcome = "killed"           // ended without an answer: exit, signal, crash
	SessionLost    Outcome = "session_lost"     // an earlier call of the session took the sandbox with it
	Missing        Outcome = "missing"          // the question, element or method is not there
)

// Missing codes: which part of a name is not there. They are the `code` of a 404.
const (
	CourseMissing   = "course_missing"
	VersionMissing  = "version_missing"
	QuestionMissing = "question_missing"
	ElementMissing  = "element_missing"
	MethodMissing   = "method_missing"
)

// CallType says what a call addresses.
type CallType string

// The call types.
const (
	Question CallType = "question" // a function of a question's server.py
	Element  CallType = "element"  // a function of a course element's controller
	Phase    CallType = "phase"    // a whole phase: mustache, elements, server.py
)

// Invocation is the work of one sandbox: its calls run in order, in one fresh
// process, and thread Data from each call to the next.
type Invocation struct {
	ID       string `json:"id,omitempty"` // names the invocation in logs and answers
	Course   string `json:"course"`
	Version  string `json:"version"`            // a version, or "current"
	Question string `json:"question,omitempty"` // QID that question calls without a name mean

	// CourseInstance and Assessment add their chunks to what the sandbox sees.
	CourseInstance string `json:"course_instance,omitempty"`
	Assessment     string `json:"assessment,omitempty"`

	Data  json.RawMessage `json:"data"` // PrairieLearn's data object
	Calls []Call          `json:"calls"`
	// StopOnError ends the session at the first call that is not OK; the calls
	// after it are SessionLost.
	StopOnError bool   `json:"stop_on_error,omitempty"`
	Limits      Limits `json:"limits,omitzero"`
}

// Call is one function call of an Invocation.
type Call struct {
	Type   CallType `json:"type"`
	Name   string   `json:"name,omitempty"` // QID or element tag; see Invocation.Question
	Method string   `json:"method"`         // generate, prepare, render, parse, grade, test, file
	HTML   *string  `json:"html,omitempty"` // the element's HTML, or the page so far for a question's render
}

// Limits bound one sandbox. A zero field means the worker's own default; the
// worker caps every field at its own maximum.
type Limits struct {
	Wall      time.Duration `json:"wall,omitempty"`      // nanoseconds, per call
	CPU       time.Duration `json:"cpu,omitempty"`       // nanoseconds, per sandbox
	Memory    int64         `json:"memory,omitempty"`    // bytes, per sandbox, private pages and its tmpfs
	Processes int           `json:"processes,omitempty"` // tasks, threads included
	Output    int64         `json:"output,omitempty"`    // bytes of stdout and of stderr, each
	Result    int64         `json:"result,omitempty"`    // bytes of one result
	Files     int64         `json:"files,omitempty"`     // bytes of /tmp and /dev/shm together
}

// Result is the answer to an Invocation: one CallResult a call, in order.
type Result struct {
	ID      string          `json:"id,omitempty"`
	Version string          `json:"version"` // the version that ran, never "current"
	Data    json.RawMessage `json:"data,omitempty"`
	Calls   []CallResult    `json:"calls"`
	Usage   Usage           `json:"usage"`
	Phases  Phases          `json:"phases"`
	Tier    string          `json:"tier,omitempty"` // root, userns or reduced
}

// Progress is one line of an invocation's answer when its caller accepts
// application/x-ndjson: each call's result as soon as there is one, then the
// Result without its calls, or the Error in its place.
type Progress struct {
	Call   *CallResult `json:"call,omitempty"`
	Result *Result     `json:"result,omitempty"`
	Error  *Error      `json:"error,omitempty"`
}

// CallResult is the answer to one call. Exactly one of Data, HTML and File is
// set when Outcome is OK.
type CallResult struct {
	Outcome   Outcome         `json:"outcome"`
	Code      string          `json:"code,omitempty"`      // with Missing: which part is missing
	Message   string          `json:"message,omitempty"`   // one line, when Outcome is not OK
	Traceback string          `json:"traceback,omitempty"` // of the course's code
	Data      json.RawMessage `json:"data,omitempty"`
	HTML      *string         `json:"html,omitempty"`
	File      []byte          `json:"file,omitzero"` // base64 in JSON; empty, not nil, for an empty file
	Output    string          `json:"output,omitempty"`
	Wall      time.Duration   `json:"wall"`              // nanoseconds inside the sandbox
	Timings   []Timing        `json:"timings,omitempty"` // of a phase, as the code inside tells; in order

	// NoStore forbids keeping this answer in a cache: the course or the question
	// opted out, or the call saw something that its input does not determine.
	NoStore bool `json:"no_store,omitempty"`
}

// Timing is one part of a phase: a template, one element, server.py.
type Timing struct {
	Name string  `json:"name"`
	MS   float64 `json:"ms"`
}

// Usage is what a sandbox used.
type Usage struct {
	Wall   time.Duration `json:"wall"`             // nanoseconds
	CPU    time.Duration `json:"cpu"`              // nanoseconds, user and system
	Memory int64         `json:"memory,omitempty"` // peak bytes; 0 where the tier cannot tell
}

// Phases are the parts of an invocation's time inside the worker.
type Phases struct {
	Queue   time.Duration `json:"queue"`   // waiting for a slot
	Claim   time.Duration `json:"claim"`   // getting a sandbox and mounting the question
	Run     time.Duration `json:"run"`     // the calls themselves
	Collect time.Duration `json:"collect"` // reading results, killing, reaping
}

// Error is the one shape in which every HTTP face reports a failure:
// {"error": Error}.
type Error struct {
	Code      string  `json:"code"`
	Message   string  `json:"message"`
	Outcome   Outcome `json:"outcome,omitempty"`
	Traceback string  `json:"traceback,omitempty"`
	Output    string  `json:"output,omitempty"`
	Retryable bool    `json:"retryable"`
	ID        string  `json:"id,omitempty"`
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }
