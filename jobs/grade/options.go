// Package grade reads and writes what an external grader of PrairieLearn's kind
// lives by: the question's options, the tree below /grade, and results.json.
//
// It guarantees that a tree holds clean paths of a bounded size and number, that
// a name of the student's lies below student/ and replaces nothing, and that
// results which it accepts are one JSON object of at most MaxResults bytes, with a
// finite score from 0 to 1 and the types that PrairieLearn's pages expect. It
// refuses everything else with one line that says what is wrong and where. It
// runs nothing and opens nothing.
package grade

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// Options are the externalGradingOptions of a question's info.json.
type Options struct {
	Image       string
	Entrypoint  []string           // nil: the image's own
	ServerFiles []string           // clean paths below serverFilesCourse
	Timeout     time.Duration      // of the whole grading
	Networking  bool               // is asked for
	Environment map[string]*string // nil unsets a variable
}

// Timeouts, as in PrairieLearn.
const (
	DefaultTimeout = 30 * time.Second
	LongestTimeout = 10 * time.Minute
)

// ParseOptions reads a question's info.json. Every error is the question's.
func ParseOptions(info []byte) (*Options, error) {
	var q struct {
		Options *struct {
			Enabled     bool               `json:"enabled"`
			Image       string             `json:"image"`
			Entrypoint  json.RawMessage    `json:"entrypoint"`
			ServerFiles []string           `json:"serverFilesCourse"`
			Timeout     *float64           `json:"timeout"`
			Networking  bool               `json:"enableNetworking"`
			Environment map[string]*string `json:"environment"`
		} `json:"externalGradingOptions"`
	}
	if err := json.Unmarshal(info, &q); err != nil {
		return nil, fmt.Errorf("info.json: %w", err)
	}
	in := q.Options
	switch {
	case in == nil:
		return nil, errors.New("info.json declares no externalGradingOptions: the question has no external grader")
	case !in.Enabled:
		return nil, errors.New(`externalGradingOptions: "enabled" is not true`)
	case in.Image == "":
		return nil, errors.New(`externalGradingOptions: "image" is missing`)
	}
	o := &Options{Image: in.Image, Timeout: DefaultTimeout, Networking: in.Networking, Environment: in.Environment}
	if t := in.Timeout; t != nil {
		if !(*t > 0 && *t <= LongestTimeout.Seconds()) {
			return nil, fmt.Errorf("externalGradingOptions: \"timeout\" is %v; use more than 0 and at most %v seconds", *t, LongestTimeout.Seconds())
		}
		o.Timeout = time.Duration(*t * float64(time.Second))
	}
	for _, f := range in.ServerFiles {
		f = strings.TrimSuffix(f, "/")
		if !validPath(f) {
			return nil, fmt.Errorf("externalGradingOptions: serverFilesCourse: %q is no path below it", f)
		}
		o.ServerFiles = append(o.ServerFiles, f)
	}
	for name, value := range in.Environment {
		if name == "" || strings.ContainsAny(name, "=\x00") || value != nil && strings.ContainsRune(*value, 0) {
			return nil, fmt.Errorf("externalGradingOptions: environment: %q cannot be set", name)
		}
	}
	var err error
	if o.Entrypoint, err = entrypoint(in.Entrypoint); err != nil {
		return nil, fmt.Errorf("externalGradingOptions: entrypoint: %w", err)
	}
	return o, nil
}

// entrypoint is a list of words, or a line as a shell would split it.
func entrypoint(raw json.RawMessage) ([]string, error) {
	var words []string
	if len(raw) == 0 || string(raw) == "null" || json.Unmarshal(raw, &words) == nil {
		return check(words)
	}
	var line string
	if json.Unmarshal(raw, &line) != nil {
		return nil, errors.New("is neither a string nor a list of strings")
	}
	words, err := split(line)
	if err != nil {
		return nil, err
	}
	return check(words)
}

func check(words []string) ([]string, error) {
	for _, w := range words {
		if strings.ContainsRune(w, 0) {
			return nil, errors.New("holds a NUL character")
		}
	}
	if len(words) > 0 && words[0] == "" {
		return nil, errors.New("names no program")
	}
	return words, nil
}

// split takes a command line apart at blanks, minding quotes and backslashes. It
// expands nothing.
func split(line string) (words []string, err error) {
	var word strings.Builder
	var quote rune
	inWord, escaped := false, false
	for _, r := range line {
		switch {
		case escaped:
			if quote == '"' && r != '"' && r != '\\' {
				word.WriteRune('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case strings.ContainsRune(" \t\r\n", r):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("a quote or backslash has no end")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// validPath reports whether p is clean, relative and below where it starts.
func validPath(p string) bool {
	return p != "" && p != "." && p != ".." && len(p) < 1024 && path.Clean(p) == p && p[0] != '/' && !strings.HasPrefix(p, "../") && !strings.ContainsRune(p, 0)
}
