package machine

import "os"

// Soak says that the long proofs run whole: SOAK=1.
func Soak() bool { return os.Getenv("SOAK") == "1" }

// Length is n in a soak, and a fiftieth of it, but at least three, otherwise.
func Length(n int) int {
	if Soak() {
		return n
	}
	return max(n/50, 3)
}
