// Package token says who may call what: secrets in a file, kept as hashes, and
// public entries for browsers that hold no secret.
//
// It guarantees that a secret is compared in constant time, known or not; that
// the file is read again soon after it changed; and that a file which is
// missing, unreadable or broken lets nobody in. It refuses expired entries,
// scopes it does not understand, and files that others may read.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// prefix begins every secret, so that scanners find leaked ones.
const prefix = "plt_"

// File is the content of a tokens file.
type File struct {
	Tokens []Token  `json:"tokens"`
	Public []Public `json:"public,omitempty"`
}

// Token is one secret's entry.
type Token struct {
	ID      string    `json:"id"`
	Hash    string    `json:"hash"`   // SHA-256 of the secret in hex; the secret has 160 random bits, so no salt
	Scopes  []string  `json:"scopes"` // "verb:course", each part may be *
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
}

// Public lets pages of some origins call some verbs without a secret.
type Public struct {
	ID          string   `json:"id"`
	Origins     []string `json:"origins"`            // as in "https://learn.example.org"
	Verbs       []string `json:"verbs"`              // as in "run"
	Courses     []string `json:"courses,omitempty"`  // for verbs that concern a course; * for all
	Runtimes    []string `json:"runtimes,omitempty"` // for verbs that run programs; empty for all
	PerMinute   int      `json:"per_minute"`         // calls of one address; default 30
	Concurrency int      `json:"concurrency"`        // calls of one address at once; default 2
}

// Verbs that a scope may name. They are the verbs of routes.
var verbs = [...]string{"invoke", "files", "session", "run", "build", "grade", "metrics", "purge"}

// New makes a token and its secret, which is nowhere else.
func New(scopes []string, now, expires time.Time) (secret string, t Token, err error) {
	for _, s := range scopes {
		if err := checkScope(s); err != nil {
			return "", t, err
		}
	}
	if len(scopes) == 0 {
		return "", t, errors.New("a token needs a scope")
	}
	id := strings.ToLower(rand.Text()[:10])
	secret = prefix + id + "_" + rand.Text()
	return secret, Token{ID: id, Hash: hash(secret), Scopes: scopes, Created: now.UTC(), Expires: expires.UTC()}, nil
}

func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func checkScope(s string) error {
	verb, course, ok := strings.Cut(s, ":")
	if !ok || course == "" || verb != "*" && !slices.Contains(verbs[:], verb) {
		return fmt.Errorf("scope %q is not VERB:COURSE with a verb of %s or *", s, strings.Join(verbs[:], ", "))
	}
	return nil
}

// Allows reports whether t covers verb for course; routes without a course have "".
func (t *Token) Allows(verb, course string) bool {
	return slices.ContainsFunc(t.Scopes, func(s string) bool {
		v, c, _ := strings.Cut(s, ":")
		return (v == "*" || v == verb) && (c == "*" || course != "" && c == course)
	})
}

// AllowsSome reports whether t covers verb for any course at all.
func (t *Token) AllowsSome(verb string) bool {
	return slices.ContainsFunc(t.Scopes, func(s string) bool {
		v, _, _ := strings.Cut(s, ":")
		return v == "*" || v == verb
	})
}

// Parse reads a tokens file and refuses what it does not understand.
func Parse(b []byte) (*File, error) {
	var f File
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("tokens file: %w", err)
	}
	if dec.More() {
		return nil, errors.New("tokens file: something follows its object")
	}
	ids := map[string]bool{}
	for _, t := range f.Tokens {
		if raw, err := hex.DecodeString(t.Hash); err != nil || len(raw) != sha256.Size || t.ID == "" || ids[t.ID] {
			return nil, fmt.Errorf("tokens file: token %q has no proper hash, or its id is missing or used twice", t.ID)
		}
		ids[t.ID] = true
		for _, s := range t.Scopes {
			if err := checkScope(s); err != nil {
				return nil, fmt.Errorf("tokens file: token %s: %w", t.ID, err)
			}
		}
	}
	for i := range f.Public {
		if err := f.Public[i].check(); err != nil {
			return nil, fmt.Errorf("tokens file: public entry %q: %w", f.Public[i].ID, err)
		}
	}
	return &f, nil
}

func (p *Public) check() error {
	if p.ID == "" || len(p.Origins) == 0 || len(p.Verbs) == 0 {
		return errors.New("needs id, origins and verbs")
	}
	for _, o := range p.Origins {
		if !strings.HasPrefix(o, "https://") && !strings.HasPrefix(o, "http://") || strings.Count(o, "/") != 2 {
			return fmt.Errorf("origin %q is not like https://learn.example.org", o)
		}
	}
	for _, v := range p.Verbs {
		if v == "purge" || v == "metrics" || v == "build" || !slices.Contains(verbs[:], v) {
			return fmt.Errorf("verb %q cannot be public", v)
		}
	}
	if p.PerMinute < 0 || p.Concurrency < 0 {
		return errors.New("a limit is negative")
	}
	if p.PerMinute == 0 {
		p.PerMinute = 30
	}
	if p.Concurrency == 0 {
		p.Concurrency = 2
	}
	return nil
}

// Allows reports whether p covers verb for course.
func (p *Public) Allows(verb, course string) bool {
	return slices.Contains(p.Verbs, verb) &&
		(course == "" || slices.Contains(p.Courses, course) || slices.Contains(p.Courses, "*"))
}

// find returns the token of secret. It hashes and compares once per entry,
// whatever matches, so its time tells nothing but the number of entries.
func (f *File) find(secret string) (found *Token) {
	sum := []byte(hash(secret))
	for i := range f.Tokens {
		if subtle.ConstantTimeCompare(sum, []byte(f.Tokens[i].Hash)) == 1 {
			found = &f.Tokens[i]
		}
	}
	return found
}
