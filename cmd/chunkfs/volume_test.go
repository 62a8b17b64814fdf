package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a volume's author writes leads to a version of a course or to an error.
// Real volumes are made by a real agent, in test/e2e/nomad.
func TestParametersOfVolumesThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "c", "v"), 0o755))
	for _, parameters := range []string{
		``, `null`, `[]`, `{}`, `{"course":""}`, `{"course":".."}`, `{"course":"/etc"}`, `{"course":"c/v"}`, `{"course":"c\u0000"}`, `{"course":"-rf"}`,
		`{"course":["c"]}`, `{"course":"c","version":".."}`, `{"course":"c","version":"../.."}`, `{"course":"c","version":"v"}`, `{"course":"c","version":"current/x"}`,
	} {
		_, err := volume(t.Context(), dir, parameters)
		require.ErrorContains(t, err, "param", parameters)
	}
	for _, parameters := range []string{`{"course":"c"}`, `{"course":"c","version":"0123456789012345678901234567890123456789"}`} {
		_, err := volume(t.Context(), dir, parameters)
		require.ErrorContains(t, err, "the mount of courses", "a directory that is no mount of ours")
	}
}
