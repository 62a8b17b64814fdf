package runs

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/prairielambda/prairielambda/jobs"
)

const maxCases = 256

// ParseLab reads lab_io.txt:
//
//	in 0: 1 2 3
//	out 0: 6
//
// A line that begins with neither goes on with the one before it. Cases come in
// the order of their first line; each has one in and one out, either may be empty.
func ParseLab(text string) ([]jobs.ProgramCase, error) {
	var cases []jobs.ProgramCase
	index := map[string]int{}
	have := map[string]bool{}
	var last *string
	for n, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		kind, name, rest, ok := labLine(line)
		if !ok {
			switch {
			case last != nil:
				*last += "\n" + line
			case strings.TrimSpace(line) != "":
				return nil, fmt.Errorf("lab_io.txt line %d begins no case", n+1)
			}
			continue
		}
		if have[kind+name] {
			return nil, fmt.Errorf("lab_io.txt line %d: %s %s is there twice", n+1, kind, name)
		}
		have[kind+name] = true
		i, known := index[name]
		if !known {
			if i = len(cases); i == maxCases {
				return nil, fmt.Errorf("lab_io.txt has more than %d cases", maxCases)
			}
			index[name] = i
			cases = append(cases, jobs.ProgramCase{Name: name})
		}
		last = &cases[i].Stdin
		if kind == "out" {
			last = &cases[i].Expect
		}
		*last = strings.TrimPrefix(rest, " ")
	}
	for i := range cases {
		cases[i].Stdin = strings.TrimRight(cases[i].Stdin, "\n")
		cases[i].Expect = strings.TrimRight(cases[i].Expect, "\n")
		if !have["out"+cases[i].Name] {
			return nil, fmt.Errorf("lab_io.txt: case %s has no out", cases[i].Name)
		}
	}
	return cases, nil
}

// labLine splits "in 0: text".
func labLine(line string) (kind, name, rest string, ok bool) {
	head, rest, ok := strings.Cut(line, ":")
	if !ok {
		return "", "", "", false
	}
	kind, name, ok = strings.Cut(head, " ")
	if !ok || kind != "in" && kind != "out" {
		return "", "", "", false
	}
	n, err := strconv.Atoi(strings.TrimSpace(name))
	if err != nil || n < 0 {
		return "", "", "", false
	}
	return kind, strconv.Itoa(n), rest, true
}
