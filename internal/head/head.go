// Package head holds the only mutable state of a store: which version of a
// course is current. Beside it lie the immutable version records.
//
// It guarantees that a head moves by compare-and-swap only, that every move
// raises its sequence, and that what is read back is exactly what was written:
// each record carries the digest of its own text, and a changed byte is a
// CorruptError. It refuses names that are not a course id or a version.
package head

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// ErrNotFound says that the store answered and has no such course or version.
var ErrNotFound = errors.New("not found")

// ErrConflict says that somebody else changed the same record first.
var ErrConflict = errors.New("changed by somebody else meanwhile")

// CorruptError says that a record is not what was written.
type CorruptError struct{ Name, Reason string }

func (e *CorruptError) Error() string { return e.Name + " is corrupt: " + e.Reason }

// Head says what a course's `current` is.
type Head struct {
	Course    string      `json:"course"`
	Version   string      `json:"version"`
	Manifest  blob.Digest `json:"manifest"`
	Sequence  uint64      `json:"sequence"` // 1 for the first, one more with every move
	Time      time.Time   `json:"time"`     // of the move, UTC
	Signature []byte      `json:"signature,omitempty"`
}

// Version is the immutable record of one version.
type Version struct {
	Course   string      `json:"course"`
	Version  string      `json:"version"`
	Manifest blob.Digest `json:"manifest"`
	Time     time.Time   `json:"time"` // of its first push, UTC
	Chunks   int         `json:"chunks"`
	Files    int         `json:"files"`
	Bytes    int64       `json:"bytes"`         // of regular files, uncompressed
	Git      *Git        `json:"git,omitempty"` // nil for a tree without git

	// Environments are those that the version's files name without a digest, each
	// with the digest that it had when the version was pushed.
	Environments map[string]string `json:"environments,omitempty"`

	// Profile is what the questions of the course read besides their own files, as far
	// as nodes had said so when the version was pushed, best known first.
	Profile []string `json:"profile,omitempty"`
}

// Git are the facts about a version's commit.
type Git struct {
	Commit string    `json:"commit"`
	Tree   string    `json:"tree"`
	Time   time.Time `json:"time"`   // committer's
	Title  string    `json:"title"`  // first line of the message, clipped
	Author string    `json:"author"` // name and mail as in the commit, clipped
}

// Token stands for the state of a head as Get saw it. The zero Token is "no head".
type Token string

// Store keeps heads and version records. Safe for concurrent use, also by
// several processes. Every error but ErrNotFound, ErrConflict and *CorruptError
// means that the store could not be asked. What a nil error reports is durable;
// a version record that was put is so at the latest before the course's head moves.
type Store interface {
	// Get reads a course's head. ErrNotFound when it has none.
	Get(ctx context.Context, course string) (Head, Token, error)
	// Swap replaces the head that old stands for. ErrConflict when it is no
	// longer that one. new.Sequence must be that of the old head plus one.
	Swap(ctx context.Context, course string, old Token, new Head) error
	// Remove removes the head that old stands for; ErrConflict as for Swap.
	Remove(ctx context.Context, course string, old Token) error
	// List names the courses that have a head, sorted.
	List(ctx context.Context) ([]string, error)

	// GetVersion reads one version record. ErrNotFound when there is none.
	GetVersion(ctx context.Context, course, version string) (Version, error)
	// PutVersion writes v unless the record is there, and returns the record
	// that the store holds afterwards. first makes durable what v reaches: the
	// record appears after it returned nil. A nil first says that it is durable.
	PutVersion(ctx context.Context, v Version, first func(context.Context) error) (Version, error)
	// ListVersions calls fn for each record of a course, removed ones included, in no order.
	ListVersions(ctx context.Context, course string, fn func(Stored) error) error
	// Keep marks a version so that gc leaves it alone, or takes the mark away.
	Keep(ctx context.Context, course, version string, keep bool) error
	// RemoveVersion hides a record: GetVersion no longer finds it, ListVersions
	// shows it with Removed set until PurgeVersion. Hiding a missing record is no error.
	RemoveVersion(ctx context.Context, course, version string) error
	// PurgeVersion forgets a hidden record.
	PurgeVersion(ctx context.Context, course, version string) error
	// Courses names every course with a head, a record or a hidden record, sorted.
	Courses(ctx context.Context) ([]string, error)

	// PutProfile writes a node's profile of a course over the one it wrote before. It
	// need not be durable. Of two at once by one node either may stay, or fail.
	PutProfile(ctx context.Context, p Profile) error
	// Profile reads what a node wrote about a course. ErrNotFound when it wrote nothing.
	Profile(ctx context.Context, course, node string) (Profile, error)
	// Profiles reads what nodes wrote about a course, in no order, without those that
	// are damaged, and without some where there are more than MaxProfiles.
	Profiles(ctx context.Context, course string) ([]Profile, error)

	// Sweep removes what writers that were killed before the cutoff left half done,
	// and the profiles that nobody wrote again since, but those in keep: "course/node".
	Sweep(ctx context.Context, before time.Time, keep map[string]bool) error
}

// MaxProfiles is how many nodes' profiles of one course are read.
const MaxProfiles = 1000

// Stored is a version record with what gc knows about it.
type Stored struct {
	Version
	Kept    bool
	Removed time.Time // zero while the record is visible
}

// CheckCourse accepts [A-Za-z0-9][A-Za-z0-9._-]{0,127}.
func CheckCourse(id string) error {
	if id == "" || len(id) > 128 || !alnum(id[0]) {
		return fmt.Errorf("course id %.140q: want [A-Za-z0-9][A-Za-z0-9._-]{0,127}", id)
	}
	for i := range len(id) {
		if c := id[i]; !alnum(c) && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("course id %.140q: want [A-Za-z0-9][A-Za-z0-9._-]{0,127}", id)
		}
	}
	return nil
}

// CheckVersion accepts the 40 or 64 lower-case hex digits of a commit or a BLAKE3 root.
func CheckVersion(v string) error {
	ok := len(v) == 40 || len(v) == 64
	for i := range len(v) {
		ok = ok && ('0' <= v[i] && v[i] <= '9' || 'a' <= v[i] && v[i] <= 'f')
	}
	if !ok {
		return fmt.Errorf("version %.80q: want 40 or 64 lower-case hex digits", v)
	}
	return nil
}

// Check is what a Store does first: it refuses a course or a version ("" for
// none) that is no name, and work for a context that has ended.
func Check(ctx context.Context, course, version string) error {
	if err := CheckCourse(course); err != nil {
		return err
	}
	if version != "" {
		if err := CheckVersion(version); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// First calls first, as PutVersion must, unless it is nil.
func First(ctx context.Context, first func(context.Context) error) error {
	if first == nil {
		return nil
	}
	return first(ctx)
}

func alnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
