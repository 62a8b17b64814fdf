package head

import (
	"fmt"
	"strings"
)

// Environments share a store with courses, under names that no course has: the
// environment NAME is the course "env.NAME", so that heads, records, gc and
// verification are the same for both.
const envPrefix = "env."

// EnvCourse is the course under which environment name is stored.
func EnvCourse(name string) string { return envPrefix + name }

// EnvName is the environment that a course is, if it is one.
func EnvName(course string) (name string, ok bool) { return strings.CutPrefix(course, envPrefix) }

// CheckEnv accepts names of environments: those of courses, four bytes shorter.
func CheckEnv(name string) error {
	if CheckCourse(name) != nil || CheckCourse(EnvCourse(name)) != nil {
		return fmt.Errorf("environment %.140q: want [A-Za-z0-9][A-Za-z0-9._-]{0,123}", name)
	}
	return nil
}
