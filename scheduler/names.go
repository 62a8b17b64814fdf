package scheduler

import (
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prairielambda/prairielambda/jobs"
)

const (
	maxPath = 1024 // bytes of a QID or file path
	maxWord = 128  // bytes of a course, version, element or method name
)

// checkCourse refuses course ids and versions that no store can hold.
func checkCourse(course, version string) error {
	if !isID(course) {
		return refuse(http.StatusNotFound, jobs.CourseMissing, "no course has such a name")
	}
	if !isID(version) {
		return refuse(http.StatusNotFound, jobs.VersionMissing, "a version is a commit or current")
	}
	return nil
}

// isID reports whether s is [A-Za-z0-9][A-Za-z0-9._-]{0,127}.
func isID(s string) bool {
	if s == "" || len(s) > maxWord || strings.ContainsRune("._-", rune(s[0])) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r >= utf8.RuneSelf || !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune("._-", r))
	})
}

// checkPath refuses a QID, course instance, assessment or file path that could
// name anything but a path below its directory, or that no file system holds.
func checkPath(what, p string) error {
	ok := p != "" && len(p) <= maxPath && utf8.ValidString(p) &&
		!strings.ContainsFunc(p, func(r rune) bool { return unicode.IsControl(r) || r == '\\' || r == utf8.RuneError })
	for seg := range strings.SplitSeq(p, "/") {
		ok = ok && seg != "" && seg != "." && seg != ".." && len(seg) <= 255
	}
	if !ok {
		return refuse(http.StatusBadRequest, "bad_path", what+" is not a path of plain names")
	}
	return nil
}

// checkWord refuses element names and methods that cannot exist.
func checkWord(what, s string) error {
	ok := s != "" && len(s) <= maxWord && s[0] != '.' && s[0] != '-'
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_' || c == '-' || c == '.'
	}
	if !ok {
		return refuse(http.StatusBadRequest, "bad_request", what+" is not a plain name")
	}
	return nil
}

// tagOf returns the tag that html begins with, in lower case as HTML has it, or "".
func tagOf(html string) string {
	s := strings.TrimLeft(html, " \t\r\n\f")
	if len(s) < 2 || s[0] != '<' || !isLetter(s[1]) {
		return ""
	}
	end := strings.IndexAny(s, " \t\r\n\f/>")
	if end < 0 {
		return ""
	}
	return strings.ToLower(s[1:end])
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
