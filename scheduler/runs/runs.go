// Package runs translates the asynchronous flow of AdaCore's learn clients, in
// the shapes of all three generations, into runs of a worker: submitting a
// program, reading its output from any position, and naming a run so that every
// gateway finds it.
//
// It guarantees that what it accepts is a Program of plain names in a known
// mode, and that offsets are exact: a client that reads from n gets frame n next,
// whatever gateway it asks. It refuses modes it does not know and languages it
// cannot tell; it runs and stores nothing.
package runs

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/prairielambda/prairielambda/jobs"
)

// Submission is the body of /run_program/, and the data of a WebSocket's execute.
type Submission struct {
	Identifier string             `json:"identifier,omitempty"` // ignored: some clients send their last one
	Name       string             `json:"name"`                 // a label
	Files      []jobs.ProgramFile `json:"files"`
	Mode       string             `json:"mode"`
	Main       string             `json:"main"`
	Switches   Switches           `json:"switches"`
	Lab        bool               `json:"lab"`
	Runtime    string             `json:"runtime"`
	Limits     jobs.Limits        `json:"limits,omitzero"` // that ask for more time than a call gets make a long run

	Environment json.RawMessage `json:"environment,omitempty"` // a name or a recipe
}

// Switches are options by tool. Clients send an object of lists, {} or, when
// they have none, [] or null.
type Switches map[string][]string

// UnmarshalJSON implements json.Unmarshaler.
func (s *Switches) UnmarshalJSON(b []byte) error {
	var m map[string][]string
	if err := json.Unmarshal(b, &m); err == nil {
		*s = m
		return nil
	}
	var none []struct{}
	if err := json.Unmarshal(b, &none); err != nil || len(none) > 0 {
		return errors.New("switches is not an object of lists")
	}
	*s = nil
	return nil
}

// labFile holds the cases of a lab.
const labFile = "lab_io.txt"

// modes are the clients' words for a runtime's modes.
var modes = map[string]string{
	"run": "run", "compile": "compile", "build": "compile", "submit": "submit", "prove": "prove", "prove_flow": "prove_flow",
	"prove_report_all": "prove_report_all", "prove_flow_report_all": "prove_flow_report_all",
}

// Program turns a submission into a program; the runtime is told by the files'
// suffixes when none is named. Names and sizes are the caller's to check.
func (s *Submission) Program() (*jobs.Program, error) {
	mode, ok := modes[strings.TrimSuffix(s.Mode, "_program")]
	if s.Mode == "" {
		mode, ok = "run", true
	}
	if !ok {
		return nil, fmt.Errorf("mode %q is not one of run, compile, submit, prove and its variants", s.Mode)
	}
	p := &jobs.Program{Runtime: s.Runtime, Main: s.Main, Mode: mode, Switches: s.Switches, Limits: s.Limits}
	for _, f := range s.Files {
		if f.Basename != labFile {
			p.Files = append(p.Files, f)
			continue
		}
		if mode == "submit" {
			cases, err := ParseLab(f.Contents)
			if err != nil {
				return nil, err
			}
			p.Cases = cases
		}
	}
	if mode == "submit" && len(p.Cases) == 0 {
		return nil, errors.New("mode submit needs a file lab_io.txt with at least one case")
	}
	if p.Runtime == "" {
		if p.Runtime = language(p.Files); p.Runtime == "" {
			return nil, errors.New("no runtime is named, and the files' suffixes tell none")
		}
	}
	return p, nil
}

// language tells Ada, C++ and C by suffix; Ada wins over C++ over C, because
// their projects may hold files of the latter.
func language(files []jobs.ProgramFile) string {
	found := map[string]bool{}
	for _, f := range files {
		switch strings.ToLower(path.Ext(f.Basename)) {
		case ".adb", ".ads", ".gpr":
			found["ada"] = true
		case ".cpp", ".cc", ".cxx", ".hpp", ".hh":
			found["c++"] = true
		case ".c", ".h":
			found["c"] = true
		}
	}
	for _, l := range []string{"ada", "c++", "c"} {
		if found[l] {
			return l
		}
	}
	return ""
}
