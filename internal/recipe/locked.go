package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
)

// Locked is a recipe in which nothing is left to decide: its base has a digest,
// every package a version, those that these bring along are named too. Builds of
// it give the same environment.
type Locked struct {
	Recipe
	Suite  string            `json:"suite,omitempty"`  // of Debian, for a root without a base
	Hashes map[string]string `json:"hashes,omitempty"` // SHA-256 of a Python package's file, by NAME==VERSION

	// NPMLock is a package-lock.json: one package may be there in several versions.
	NPMLock json.RawMessage `json:"npm_lock,omitempty"`
}

// Digest is the SHA-256 of the canonical form, in hex.
func (l *Locked) Digest() string {
	b, err := json.Marshal(l)
	if err != nil { // strings only: cannot fail
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Name is the environment that l is built as.
func (l *Locked) Name() string { return builtPrefix + l.Digest()[:40] }

// Split takes apart what is built one over the other: Debian packages, and what
// comes on top of them, whose base is then that. Only a recipe that has both gives
// a first part.
func (r *Recipe) Split() (first, rest *Recipe) {
	if len(r.Debian) == 0 || len(r.Pip)+len(r.NPM)+len(r.Files) == 0 {
		return nil, r
	}
	over := *r
	over.Base, over.Debian = "", nil
	return &Recipe{Base: r.Base, Debian: r.Debian}, &over
}

// Delta is what a build added to its base.
type Delta struct {
	Dir   *os.File     // as overlayfs keeps it; without a base, all of the root
	Owner uint32       // that was added to every owner in it
	Free  func() error // lets go of it
}
