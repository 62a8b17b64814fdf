package question

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Info is what a question's info.json says, as far as anybody here asks. Fields
// of the wrong type read as absent and are named in Faults.
type Info struct {
	UUID          string
	Title         string
	Topic         string
	Tags          []string
	Type          string
	GradingMethod string // Internal, External or Manual
	SingleVariant bool
	PartialCredit bool
	Workspace     bool // workspaceOptions are declared
	External      bool // externalGradingOptions are, and enabled
	Dependencies  map[string][]string

	Faults []string // one line each
}

// Internal reports whether grade phases grade the question.
func (i Info) Internal() bool { return i.GradingMethod == "" || i.GradingMethod == "Internal" }

// ParseInfo reads an info.json. It always returns a usable Info.
func ParseInfo(b []byte) Info {
	info := Info{PartialCredit: true}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &fields); err != nil {
		info.Faults = append(info.Faults, JSONFault(b, err))
		return info
	}
	read := func(key, want string, into any) {
		raw, ok := fields[key]
		if ok && json.Unmarshal(raw, into) != nil {
			info.Faults = append(info.Faults, fmt.Sprintf("%q is not %s", key, want))
		}
	}
	read("uuid", "a string", &info.UUID)
	read("title", "a string", &info.Title)
	read("topic", "a string", &info.Topic)
	read("tags", "a list of strings", &info.Tags)
	read("type", "a string", &info.Type)
	read("gradingMethod", "a string", &info.GradingMethod)
	read("singleVariant", "true or false", &info.SingleVariant)
	read("partialCredit", "true or false", &info.PartialCredit)
	read("dependencies", "an object of lists of strings", &info.Dependencies)
	_, info.Workspace = fields["workspaceOptions"]
	var external struct{ Enabled bool }
	read("externalGradingOptions", "an object", &external)
	info.External = external.Enabled && !info.Internal()
	if info.Type != "" && info.Type != "v3" && info.Type != "Freeform" {
		info.Faults = append(info.Faults, fmt.Sprintf("\"type\" is %q; only v3 questions run here", info.Type))
	}
	if m := info.GradingMethod; m != "" && !slices.Contains([]string{"Internal", "External", "Manual"}, m) {
		info.Faults = append(info.Faults, fmt.Sprintf("\"gradingMethod\" is %q; use Internal, External or Manual", m))
	}
	if strings.TrimSpace(info.Title) == "" {
		info.Faults = append(info.Faults, `"title" is missing`)
	}
	return info
}

// JSONFault says where JSON breaks, in a line.
func JSONFault(b []byte, err error) string {
	at, ok := err.(*json.SyntaxError)
	if !ok {
		return "not a JSON object"
	}
	upTo := b[:min(int(at.Offset), len(b))]
	line := 1 + strings.Count(string(upTo), "\n")
	col := len(upTo) - strings.LastIndex(string(upTo), "\n") - 1
	return fmt.Sprintf("not JSON: line %d, column %d: %s", line, max(col, 1), at.Error())
}

// Needs says in one sentence what a question asks for that is not there to have;
// empty for most.
func (i Info) Needs() string {
	var parts []string
	if i.Workspace {
		parts = append(parts, "a workspace")
	}
	switch {
	case i.GradingMethod == "External" && !i.External:
		parts = append(parts, "an external grader")
	case i.GradingMethod == "Manual":
		parts = append(parts, "a person who grades")
	}
	if parts == nil {
		return ""
	}
	return "This question also needs " + strings.Join(parts, " and ") + ", which only a platform has; everything else of it runs here."
}
