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
			case res.Passed:
				l.Status = "Success"
			case res.Outcome == jobs.OK && res.ExitCode == 0:
				l.Status = "Failed"
			}
		}
		r.Success = r.Success && l.Status == "Success"
		r.Cases[c.Name] = l
	}
	return r
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
