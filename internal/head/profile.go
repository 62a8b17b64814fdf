package head

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"time"
)

// Profile is what one node saw the questions of a course read besides their own
// files. Nodes write them, each its own; a push merges them into the record of
// the version that it makes. They name paths, which outlive versions, and they are hints: a
// wrong one costs somebody a fetch, and whoever reads one takes only paths that its manifest has.
type Profile struct {
	Course string    `json:"course"`
	Node   string    `json:"node"` // 32 lower-case hex digits that the node once chose for itself
	Time   time.Time `json:"time"` // UTC
	Paths  []string  `json:"paths"`
}

// MaxProfile is how many paths a profile has at most, and maxPaths how many
// bytes of JSON, so that a record has room for them.
const (
	MaxProfile = 64
	maxPaths   = 4 << 10
)

// Encode writes p as a record.
func (p Profile) Encode() ([]byte, error) {
	p.Time = p.Time.UTC().Truncate(time.Millisecond)
	if err := p.check(); err != nil {
		return nil, err
	}
	return encode(p)
}

// DecodeProfile reads what Encode wrote for this course and node; anything else
// is a *CorruptError.
func DecodeProfile(course, node string, record []byte) (p Profile, err error) {
	name := "profile of " + course + " by " + node
	err = decode(name, record, &p)
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
	return checkPaths(p.Paths)
}

// CheckNode accepts 32 lower-case hex digits.
func CheckNode(node string) error {
	if len(node) != 32 || CheckVersion(node+"00000000") != nil {
		return fmt.Errorf("node %.80q: want 32 lower-case hex digits", node)
	}
	return nil
}

// FitProfile is as much of paths as a profile holds, from the first, each once;
// what is no path of a file below a course is left out.
func FitProfile(paths []string) (fit []string) {
	seen := map[string]bool{}
	room := maxPaths
	for _, p := range paths {
		if seen[p] || checkPaths([]string{p}) != nil || len(fit) == MaxProfile {
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

func checkPaths(paths []string) error {
	if len(paths) > MaxProfile {
		return fmt.Errorf("a profile of %d paths: want at most %d", len(paths), MaxProfile)
	}
	seen := map[string]bool{}
	room := maxPaths
	for _, p := range paths {
		if room -= jsonLen(p); !fs.ValidPath(p) || p == "." || seen[p] || room < 0 {
			return fmt.Errorf("a profile with %.80q: want different relative paths of at most %d bytes together", p, maxPaths)
		}
		seen[p] = true
	}
	return nil
}

func jsonLen(s string) int {
	b, _ := json.Marshal(s)
	return len(b) + 1
}
