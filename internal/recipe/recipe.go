// Package recipe says what an environment is made of: a base, packages, files
// and variables, as people write it in a course, in a lambda.json or in a request.
//
// It guarantees that a recipe has one canonical form, whatever it was written in
// and in whatever order, and that the form's digest names it; that every word in
// it is a plain package, path or variable, which no tool can take for an option,
// an address or a command; and that reading one costs no more than its length.
//
// It refuses fields it does not know, addresses, paths that climb or lie where a
// sandbox has files of its own, and more of anything than an environment needs.
package recipe

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Recipe is what an environment is made of. Parse and its siblings return it in
// canonical form; see Canonical.
type Recipe struct {
	// Base is the environment to add to, NAME or NAME@DIGEST. Without one a root is
	// made of Debian packages, or the builder's default is taken where there are none.
	Base     string            `json:"base,omitempty"`
	Debian   []string          `json:"debian,omitempty"`   // NAME or NAME=VERSION
	NPM      []string          `json:"npm,omitempty"`      // NAME or NAME@VERSION
	Pip      []string          `json:"pip,omitempty"`      // as a line of requirements.txt, without addresses and options
	Files    map[string]string `json:"files,omitempty"`    // contents by absolute path; what begins with #! may be run
	Settings map[string]string `json:"settings,omitempty"` // variables
}

// Bounds of a recipe.
const (
	MaxBytes    = 256 << 10 // of its text, in whatever form
	maxPackages = 256       // of one kind
	maxFiles    = 256
	maxSettings = 100
	maxWord     = 300
)

// Error is why a recipe is refused.
type Error struct{ Reason string }

func (e *Error) Error() string { return "recipe: " + e.Reason }

func bad(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Parse reads a file of a course by its name: *.hcl, *.json or *.txt.
func Parse(name string, b []byte) (*Recipe, error) {
	switch {
	case strings.HasSuffix(name, ".hcl"):
		return ParseHCL(b)
	case strings.HasSuffix(name, ".json"):
		return ParseJSON(b)
	case strings.HasSuffix(name, ".txt"):
		return ParseRequirements(b)
	}
	return nil, bad("%.100q is no .hcl, .json or .txt file", name)
}

// ParseJSON reads the form that requests and lambda.json have.
func ParseJSON(b []byte) (*Recipe, error) {
	if len(b) > MaxBytes {
		return nil, bad("it has more than %d bytes", MaxBytes)
	}
	var r Recipe
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, bad("%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, bad("something follows its object")
	}
	return r.Canonical()
}

// ParseRequirements reads a requirements.txt: one package a line, # begins a comment.
func ParseRequirements(b []byte) (*Recipe, error) {
	if len(b) > MaxBytes {
		return nil, bad("it has more than %d bytes", MaxBytes)
	}
	var r Recipe
	for line := range strings.Lines(string(b)) {
		if i := strings.IndexByte(line, '#'); i == 0 || i > 0 && (line[i-1] == ' ' || line[i-1] == '\t') {
			line = line[:i]
		}
		if line = strings.TrimSpace(line); line != "" {
			r.Pip = append(r.Pip, line)
		}
	}
	return r.Canonical()
}

// Canonical checks r and returns it with its lists in order, each word once, in
// the one spelling that it has.
func (r *Recipe) Canonical() (*Recipe, error) {
	c := &Recipe{Base: r.Base, Files: r.Files, Settings: r.Settings}
	if c.Base != "" && !baseName().MatchString(c.Base) {
		return nil, bad("base %.100q is not NAME or NAME@DIGEST", c.Base)
	}
	for _, list := range []struct {
		what string
		from []string
		to   *[]string
		word func(string) (string, bool)
	}{
		{"debian", r.Debian, &c.Debian, debianWord}, {"npm", r.NPM, &c.NPM, npmWord}, {"pip", r.Pip, &c.Pip, pipWord},
	} {
		if len(list.from) > maxPackages {
			return nil, bad("%s has %d packages, more than %d", list.what, len(list.from), maxPackages)
		}
		for _, s := range list.from {
			w, ok := list.word(s)
			if !ok || len(s) > maxWord || strings.ContainsFunc(s, control) {
				return nil, bad("%s: %.100q is no package of a registry", list.what, s)
			}
			*list.to = append(*list.to, w)
		}
		slices.Sort(*list.to)
		*list.to = slices.Compact(*list.to)
	}
	if err := c.checkFiles(); err != nil {
		return nil, err
	}
	if len(c.Files) == 0 {
		c.Files = nil
	}
	if len(c.Settings) == 0 {
		c.Settings = nil
	}
	if len(c.encode()) > MaxBytes {
		return nil, bad("it has more than %d bytes", MaxBytes)
	}
	return c, nil
}

func (r *Recipe) encode() []byte {
	b, err := json.Marshal(r) // maps are written in the order of their keys
	if err != nil {           // strings only: cannot fail
		panic(err)
	}
	return b
}

// Digest is the SHA-256 of the canonical form, in hex.
func (r *Recipe) Digest() string {
	sum := sha256.Sum256(r.encode())
	return hex.EncodeToString(sum[:])
}

// Name is the environment that r is built as, where nobody gave it a name.
func (r *Recipe) Name() string { return NamePrefix + r.Digest()[:40] }

// NamePrefix begins such names, builtPrefix those of locked recipes.
const (
	NamePrefix  = "recipe-"
	builtPrefix = "built-"
)

var builtName = pattern(`^(` + NamePrefix + `|` + builtPrefix + `)[0-9a-f]{40}$`)

// IsBuilt reports whether name is one that a recipe or a locked recipe gives.
func IsBuilt(name string) bool { return builtName().MatchString(name) }

// Empty reports whether r asks for nothing.
func (r *Recipe) Empty() bool {
	return r.Base == "" && len(r.Debian)+len(r.NPM)+len(r.Pip)+len(r.Files)+len(r.Settings) == 0
}
