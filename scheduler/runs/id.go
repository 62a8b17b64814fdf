package runs

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// TaskID names a run at the worker called name, so that every gateway finds the
// worker again. The worker's part shows no address; the run's part is what nobody
// can guess.
func TaskID(worker, run string) string { return tag(worker) + "." + run }

// SplitTaskID returns the run's part of a task id, and a test for the worker's
// name. It refuses what TaskID cannot have made.
func SplitTaskID(id string) (run string, is func(worker string) bool, ok bool) {
	t, run, ok := strings.Cut(id, ".")
	if !ok || len(t) != tagSize || len(run) < 16 || len(run) > 64 {
		return "", nil, false
	}
	for i := range len(run) {
		c := run[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_') {
			return "", nil, false
		}
	}
	return run, func(worker string) bool { return tag(worker) == t }, true
}

const tagSize = 12

func tag(worker string) string {
	sum := sha256.Sum256([]byte(worker))
	return hex.EncodeToString(sum[:])[:tagSize]
}
