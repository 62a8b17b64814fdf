package recipe

import (
	"bytes"
	"encoding/json"
)

// Files of a course that say what it runs in, in the order in which they count.
const (
	LambdaFile       = "lambda.json"
	HCLFile          = "environment.hcl"
	RequirementsFile = "requirements.txt"
)

// Named is the environment that a file of a course asks for, by what the file is
// called: NAME, NAME@DIGEST, or the name that its recipe has. "" is none: the file
// asks for nothing, or is wrong, which whoever runs the course says.
func Named(file string, b []byte) (name string, r *Recipe) {
	switch file {
	case HCLFile, RequirementsFile:
		r, _ = Parse(file, b)
	case LambdaFile:
		var l struct {
			Environment json.RawMessage `json:"environment"`
		}
		if json.Unmarshal(b, &l) != nil || len(l.Environment) == 0 {
			return "", nil
		}
		if json.Unmarshal(l.Environment, &name) == nil {
			return name, nil
		}
		if IsRecipe(l.Environment) {
			r, _ = ParseJSON(l.Environment)
		}
	}
	if r == nil || r.Empty() {
		return "", nil
	}
	return r.Name(), r
}

// IsRecipe tells a recipe from the variables that older files have in its place,
// whose values are all strings.
func IsRecipe(b []byte) bool {
	var variables map[string]string
	return bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) && json.Unmarshal(b, &variables) != nil
}
