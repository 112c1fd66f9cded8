package assertion

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	At       string      `xml:"timestamp,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr"`
	Line    int           `xml:"line,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes results in the XML form of JUnit that build servers read. file is the name of the file of tests, and at the time of
// the run.
//
// Errors: those of w.
func WriteJUnit(w io.Writer, file string, at time.Time, results []Result) error {
	suite := junitSuite{Name: file, Tests: len(results), At: at.UTC().Format("2006-01-02T15:04:05")}
	var total time.Duration
	for _, r := range results {
		one := junitCase{Name: r.Name, Class: "ecrin.policy.test", File: file, Line: r.Line, Time: fmt.Sprintf("%.3f", r.Took.Seconds())}
		if !r.Passed {
			suite.Failures++
			one.Failure = &junitFailure{Message: strings.Join(r.Why[:min(1, len(r.Why))], ""), Text: strings.Join(r.Why, "\n")}
		}
		total += r.Took
		suite.Cases = append(suite.Cases, one)
	}
	suite.Time = fmt.Sprintf("%.3f", total.Seconds())
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(struct {
		XMLName xml.Name `xml:"testsuites"`
		Suite   junitSuite
	}{Suite: suite}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
