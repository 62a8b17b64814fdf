package main

import (
	"encoding/xml"
	"fmt"
	"os"
	"strings"

	"github.com/prairielambda/prairielambda/scheduler/question"
)

// The elements of JUnit's XML that the tools of continuous integration read.
type (
	suites struct {
		XMLName xml.Name `xml:"testsuites"`
		Suites  []suite  `xml:"testsuite"`
	}
	suite struct {
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Time     string     `xml:"time,attr"`
		Cases    []testcase `xml:"testcase"`
	}
	testcase struct {
		Class   string   `xml:"classname,attr"`
		Name    string   `xml:"name,attr"`
		Time    string   `xml:"time,attr"`
		Failure *failure `xml:"failure,omitempty"`
		Output  string   `xml:"system-out,omitempty"`
	}
	failure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes a suite a question and a case a seed.
func writeJUnit(file, course string, all []tested) error {
	var doc suites
	for _, t := range all {
		s := suite{Name: t.QID, Time: fmt.Sprintf("%.3f", t.Wall.Seconds())}
		if len(t.Faults) > 0 {
			s.Cases = append(s.Cases, testcase{Class: course + "." + t.QID, Name: "info.json", Time: "0", Failure: &failure{Message: strings.Join(t.Faults, "; ")}})
		}
		for _, x := range t.Trials {
			c := testcase{Class: course + "." + t.QID, Name: fmt.Sprintf("seed %d", x.Seed), Time: fmt.Sprintf("%.3f", x.Wall.Seconds())}
			for _, p := range x.Problems {
				if p.Warning {
					c.Output += p.Output
					continue
				}
				if c.Failure == nil {
					c.Failure = &failure{Message: where(p) + ": " + p.Message}
				}
				c.Failure.Text += fmt.Sprintf("%s: %s\n%s%s\n", where(p), p.Message, p.Trace, p.Output)
			}
			s.Cases = append(s.Cases, c)
		}
		for _, c := range s.Cases {
			if s.Tests++; c.Failure != nil {
				s.Failures++
			}
		}
		doc.Suites = append(doc.Suites, s)
	}
	b, err := xml.MarshalIndent(doc, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return os.WriteFile(file, append([]byte(xml.Header), b...), 0o644)
}

// where names a problem's phase and case.
func where(p question.Problem) string {
	if p.Case == "" {
		return p.Phase
	}
	return p.Phase + " of the " + string(p.Case) + " answer"
}
