package head

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Profile is what one node saw the questions of a course read besides their own
// files. Nodes write them, each its own; a push merges them into the record of
// the version that it makes. They name paths, which outlive versions, and they are hints: a
// wrong one costs somebody a fetch, and whoever reads one takes only paths that its manifest has.
//
// An environment has one for each version: what its programs read when they start, as
// the push foresaw and nodes saw it. Its node is EnvNode of the version, and of a file
// in blocks a path may name one: path//number.
type Profile struct {
	Course string    `json:"course"`
	Node   string    `json:"node"` // 32 lower-case hex digits that the node once chose for itself
	Time   time.Time `json:"time"` // UTC
	Paths  []string  `json:"paths"`
}

// MaxProfile is how many paths a profile has at most, and maxPaths how many
// bytes of JSON, so that a version's record has room for them. The start of an
// environment's programs is longer, and nobody's record holds it.
const (
	MaxProfile    = 64
	maxPaths      = 4 << 10
	MaxEnvProfile = 4096
	maxEnvPaths   = 256 << 10

	MaxProfileRecord = maxEnvPaths + MaxRecord
)

// EnvNode is the node of the profile of an environment's version.
func EnvNode(version string) string { return version[:min(len(version), 32)] }

func roomOf(course string) (paths, bytes int) {
	if _, is := EnvName(course); is {
		return MaxEnvProfile, maxEnvPaths
	}
	return MaxProfile, maxPaths
}

// Encode writes p as a record.
func (p Profile) Encode() ([]byte, error) {
	p.Time = p.Time.UTC().Truncate(time.Millisecond)
	if err := p.check(); err != nil {
		return nil, err
	}
	return encode(p, MaxProfileRecord)
}

// DecodeProfile reads what Encode wrote for this course and node; anything else
// is a *CorruptError.
func DecodeProfile(course, node string, record []byte) (p Profile, err error) {
	name := "profile of " + course + " by " + node
	err = decode(name, record, &p, MaxProfileRecord)
	if err == nil {
		if err = p.check(); err == nil && (p.Course != course || p.Node != node) {
			err = fmt.Errorf("it is about %q by %q", p.Course, p.Node)
		}
		if err != nil {
			err = &CorruptError{name, err.Error()}
		}
	}
	return p, err
}

func (p Profile) check() error {
	if err := CheckCourse(p.Course); err != nil {
		return err
	}
	if err := CheckNode(p.Node); err != nil {
		return err
	}
	return checkPaths(p.Course, p.Paths)
}

// CheckNode accepts 32 lower-case hex digits.
func CheckNode(node string) error {
	if len(node) != 32 || CheckVersion(node+"00000000") != nil {
		return fmt.Errorf("node %.80q: want 32 lower-case hex digits", node)
	}
	return nil
}

// FitProfile is as much of paths as a profile of course holds, from the first, each
// once; what is no path of a file below a course is left out.
func FitProfile(course string, paths []string) (fit []string) {
	seen := map[string]bool{}
	most, room := roomOf(course)
	for _, p := range paths {
		if seen[p] || checkPaths(course, []string{p}) != nil || len(fit) == most {
			continue
		}
		if room -= jsonLen(p); room < 0 {
			break
		}
		seen[p] = true
		fit = append(fit, p)
	}
	return fit
}

func checkPaths(course string, paths []string) error {
	most, room := roomOf(course)
	if len(paths) > most {
		return fmt.Errorf("a profile of %d paths: want at most %d", len(paths), most)
	}
	_, blocks := EnvName(course)
	seen := map[string]bool{}
	left := room
	for _, p := range paths {
		file := p
		if name, n, ok := strings.Cut(p, "//"); ok && blocks && isNumber(n) {
			file = name
		}
		if left -= jsonLen(p); !fs.ValidPath(file) || file == "." || seen[p] || left < 0 {
			return fmt.Errorf("a profile with %.80q: want different relative paths of at most %d bytes together", p, room)
		}
		seen[p] = true
	}
	return nil
}

// isNumber accepts numbers that are written in one way only.
func isNumber(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && strconv.Itoa(n) == s
}

func jsonLen(s string) int {
	b, _ := json.Marshal(s)
	return len(b) + 1
}
