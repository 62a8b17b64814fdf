package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Tier is how strong the isolation is that this machine and user can give.
type Tier string

// The tiers, strongest first.
const (
	// TierRoot: the worker is root in the initial user namespace. Every slot has
	// a user id of its own.
	TierRoot Tier = "root"
	// TierUserns: the worker runs in a user namespace of its caller, who owns
	// everything inside: an escape from the kernel's other walls is that user.
	TierUserns Tier = "userns"
	// TierReduced: as TierUserns, but no cgroup can be written, so memory is
	// bounded per process by rlimits only. For an author's own machine.
	TierReduced Tier = "reduced"
)

// ParseTier parses a --tier flag; "auto" and "" give an empty Tier.
func ParseTier(s string) (Tier, error) {
	switch t := Tier(s); t {
	case "auto", "":
		return "", nil
	case TierRoot, TierUserns, TierReduced:
		return t, nil
	}
	return "", fmt.Errorf("tier %q: use auto, root, userns or reduced", s)
}

// inInitialUserns reports whether this process lives in the machine's initial
// user namespace: only there does uid_map cover the whole range of ids.
func inInitialUserns() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(b))
	return err == nil && len(f) == 3 && f[0] == "0" && f[1] == "0" && f[2] == "4294967295"
}

// detectTier says which tier this process can offer as it is now.
func detectTier() (Tier, error) {
	if unix.Geteuid() != 0 {
		return "", errors.New("not root and not in a user namespace: start through sandbox.EnterUserns")
	}
	if inInitialUserns() {
		return TierRoot, nil
	}
	return TierUserns, nil
}

// Layer is one wall of the sandbox and whether it stands.
type Layer struct {
	Name   string `json:"name"`
	On     bool   `json:"on"`
	Remedy string `json:"remedy,omitempty"` // what to install or configure when it does not stand
}
