package recipe

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEnvironmentsOfImages(t *testing.T) {
	d := strings.Repeat("a", 64)
	for image, want := range map[string]string{
		"prairielearn/grader-python": "prairielearn-grader-python", "docker.io/library/python:latest": "python", "python:3.12-slim": "python-3.12-slim",
		"ghcr.io/x/y@sha256:" + d: "ghcr.io-x-y-sha256-" + d, "mine@" + d: "mine@" + d, "x/y@" + d: "x-y@" + d,
	} {
		require.Equal(t, want, OfImage(image))
	}
}

func TestGradersOfQuestions(t *testing.T) {
	for info, want := range map[string]string{
		`{"externalGradingOptions":{"enabled":true,"image":"a/b:latest"}}`: "a-b", `{"externalGradingOptions":{"image":"a"}}`: "", `{"externalGradingOptions":{"enabled":true}}`: "",
		`{"externalGradingOptions":[]}`: "", `{"externalGradingOptions":`: "", `{}`: "", ``: "",
	} {
		require.Equal(t, want, Grader([]byte(info)), info)
	}
}

func FuzzGrader(f *testing.F) {
	f.Add([]byte(`{"externalGradingOptions":{"enabled":true,"image":"a/b:c@d"}}`))
	f.Fuzz(func(t *testing.T, info []byte) {
		require.False(t, strings.ContainsAny(Grader(info), "/: \x00"))
	})
}
