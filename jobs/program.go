package jobs

// Program is source code that comes with its request: POST /v1/run of a worker.
// Its steps (build, run, prove, ...) are the runtime's data, chosen by Mode.
type Program struct {
	ID       string              `json:"id,omitempty"`
	Runtime  string              `json:"runtime"` // name or name@version
	Files    []ProgramFile       `json:"files"`
	Main     string              `json:"main,omitempty"`
	Mode     string              `json:"mode,omitempty"` // default: run
	Stdin    string              `json:"stdin,omitempty"`
	Args     []string            `json:"args,omitempty"`
	Env      map[string]string   `json:"env,omitempty"`
	Switches map[string][]string `json:"switches,omitempty"` // by tool: Builder, Compiler, ...
	Limits   Limits              `json:"limits,omitzero"`
	Cases    []ProgramCase       `json:"cases,omitempty"` // built once, run once a case

	// Environment is what its steps see in place of what is installed: NAME@DIGEST,
	// or NAME for the newest version.
	Environment string `json:"environment,omitempty"`
}

// ProgramFile is one source file. Basename is a plain name, no path.
type ProgramFile struct {
	Basename string `json:"basename"`
	Contents string `json:"contents"`
	Encoding string `json:"encoding,omitempty"` // utf8 (the default) or base64
}

// ProgramCase is one run with its own input.
type ProgramCase struct {
	Name   string   `json:"name,omitempty"` // default: its number
	Stdin  string   `json:"stdin,omitempty"`
	Args   []string `json:"args,omitempty"`
	Expect string   `json:"expect,omitempty"`
}

// ProgramResult is what became of a Program. Here OK means that it ended by
// itself, whatever its exit code, and Killed that it was killed from outside.
// ExitCode, Stdout and Stderr are those of the last step.
type ProgramResult struct {
	Outcome  Outcome      `json:"outcome"`
	Steps    []Step       `json:"steps"`
	ExitCode int          `json:"exit_code"`
	Stdout   string       `json:"stdout"`
	Stderr   string       `json:"stderr"`
	Cases    []CaseResult `json:"cases,omitempty"`
	Runtime  string       `json:"runtime"` // name@version that ran
	ID       string       `json:"id,omitempty"`
}

// Step is one command of a program's run.
type Step struct {
	Name      string `json:"name"` // build, run, prove, ...
	ExitCode  int    `json:"exit_code"`
	Signal    string `json:"signal,omitempty"`
	Stdout    string `json:"stdout"`
	Stderr    string `json:"stderr"`
	Encoding  string `json:"encoding,omitempty"` // of both: utf8 (the default) or base64
	Truncated bool   `json:"truncated,omitempty"`
	Usage     Usage  `json:"usage"`
}

// CaseResult is what became of one ProgramCase.
type CaseResult struct {
	Name     string  `json:"name,omitempty"`
	Outcome  Outcome `json:"outcome"`
	ExitCode int     `json:"exit_code"`
	Stdout   string  `json:"stdout"`
	Passed   bool    `json:"passed"` // ended with 0 and printed what was expected
}
