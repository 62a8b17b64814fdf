package recipe

import (
	"bytes"
	"encoding/json"
	"strings"
)

// QuestionFile says of a question, among other things, whose image grades it.
const QuestionFile = "info.json"

// Grader is the environment of the external grader that a question's info.json
// names, and "" where it names none.
func Grader(info []byte) string {
	if !bytes.Contains(info, []byte("externalGradingOptions")) {
		return ""
	}
	var q struct {
		Options *struct {
			Enabled bool   `json:"enabled"`
			Image   string `json:"image"`
		} `json:"externalGradingOptions"`
	}
	if json.Unmarshal(info, &q) != nil || q.Options == nil || !q.Options.Enabled {
		return ""
	}
	return OfImage(q.Options.Image)
}

// OfImage is what the environment of an image is called: NAME@DIGEST as it is, and
// otherwise the image's name without docker.io and without :latest, each character
// that no name may have replaced by a dash. prairielearn/grader-python is
// prairielearn-grader-python.
func OfImage(image string) string {
	if name, digest, ok := strings.Cut(image, "@"); ok && isDigest(digest) {
		return OfImage(name) + "@" + digest
	}
	image = strings.TrimPrefix(image, "docker.io/")
	image = strings.TrimPrefix(image, "library/")
	image = strings.TrimSuffix(image, ":latest")
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, image)
}

func isDigest(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }
