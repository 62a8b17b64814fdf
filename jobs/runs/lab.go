package runs

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prairielambda/prairielambda/jobs"
)

// maxReport bounds a report, whose fields share it.
const maxReport = 1 << 20

// reportOf says of each case what went in, what should have come out, and what
// did. A run that ended before a case gives it an Error.
func reportOf(cases []jobs.ProgramCase, results []jobs.CaseResult) jobs.LabReport {
	r := jobs.LabReport{Success: true, Cases: map[string]jobs.LabCase{}}
	most := maxReport / (3 * len(cases))
	for i, c := range cases {
		if c.Name == "" {
			c.Name = strconv.Itoa(i)
		}
		l := jobs.LabCase{Status: "Error", In: cut(c.Stdin, most), Out: cut(c.Expect, most)}
		if i < len(results) {
			res := results[i]
			l.Actual = cut(res.Stdout, most)
			switch {
			case res.Outcome != jobs.OK || res.ExitCode != 0:
			case plain(res.Stdout) == plain(c.Expect):
				l.Status = "Success"
			default:
				l.Status = "Failed"
			}
		}
		r.Success = r.Success && l.Status == "Success"
		r.Cases[c.Name] = l
	}
	return r
}

// plain is what a lab compares: a text without the blanks around it and at the
// ends of its lines. lab_io.txt has no way to write a blank before an answer, and
// Ada's 'Image puts one there.
func plain(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t\r")
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

func cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
