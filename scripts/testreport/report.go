package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is one line of go test -json; see go doc test2json.
type event struct {
	Action      string
	Package     string
	Test        string
	FailedBuild string
}

// test identifies a test or, with an empty name, a package itself.
type test struct{ pkg, name string }

func (t test) String() string { return strings.TrimSpace(t.pkg + " " + t.name) }

// skips are the tests that may skip, each with the reason.
type skips map[test]string

// readSkips reads lines of "import/path TestName/subtest reason…"; those that are
// empty or start with # are nothing.
func readSkips(r io.Reader) (skips, error) {
	allowed := skips{}
	for lines := bufio.NewScanner(r); ; {
		if !lines.Scan() {
			return allowed, lines.Err()
		}
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return nil, fmt.Errorf("%q is not a package, a test and a reason", line)
		}
		allowed[test{fields[0], fields[1]}] = strings.Join(fields[2:], " ")
	}
}

// report is what the events so far came to. A package's events come once for each of its runs,
// the first of which runs all of its tests and a later one a single test again.
type report struct {
	allowed skips

	running    map[test]bool   // tests of the runs under way
	pkgFailed  map[string]bool // packages of which a test failed in the run under way
	everFailed map[test]bool
	lastPassed map[test]bool
	bad        []string // what no repetition clears, a line each
}

func newReport(allowed skips) *report {
	return &report{
		allowed: allowed, running: map[test]bool{}, pkgFailed: map[string]bool{},
		everFailed: map[test]bool{}, lastPassed: map[test]bool{},
	}
}

func (r *report) read(events io.Reader) error {
	for lines := json.NewDecoder(events); ; {
		var e event
		err := lines.Decode(&e)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.Test == "" {
			r.packageEvent(e)
		} else {
			r.testEvent(e)
		}
	}
}

func (r *report) testEvent(e event) {
	t := test{e.Package, e.Test}
	switch e.Action {
	case "run":
		r.running[t] = true
	case "skip":
		delete(r.running, t)
		if _, ok := r.allowed[t]; !ok {
			r.bad = append(r.bad, t.String()+" skipped, and is not on the list of tests that may")
		}
	case "fail":
		delete(r.running, t)
		r.pkgFailed[t.pkg], r.everFailed[t], r.lastPassed[t] = true, true, false
	case "pass":
		delete(r.running, t)
		r.lastPassed[t] = true
	}
}

func (r *report) packageEvent(e event) {
	switch e.Action {
	case "start":
		delete(r.pkgFailed, e.Package)
	case "fail":
		var unended []string
		for t := range r.running {
			if t.pkg == e.Package {
				unended = append(unended, t.String()+" did not end")
				delete(r.running, t)
			}
		}
		slices.Sort(unended)
		r.bad = append(r.bad, unended...)
		switch {
		case e.FailedBuild != "":
			r.bad = append(r.bad, e.Package+" does not build")
		case !r.pkgFailed[e.Package] && len(unended) == 0:
			r.bad = append(r.bad, e.Package+" failed outside its tests")
		}
	}
}

// print says what went wrong and which tests were flaky, a line each, and reports whether the
// run may pass as far as gotestsum finds the same.
func (r *report) print(out io.Writer) bool {
	for _, line := range slices.Compact(r.bad) {
		fmt.Fprintln(out, "testreport:", line)
	}
	for _, t := range r.flakyTests() {
		fmt.Fprintln(out, "flaky:", t)
	}
	return len(r.bad) == 0
}

// flakyTests are those that failed and then passed, without the parents of others: a
// test fails with its subtests.
func (r *report) flakyTests() []test {
	var flaky []test
	for t := range r.everFailed {
		hasFailedChild := false
		for other := range r.everFailed {
			hasFailedChild = hasFailedChild || other.pkg == t.pkg && strings.HasPrefix(other.name, t.name+"/")
		}
		if r.lastPassed[t] && !hasFailedChild {
			flaky = append(flaky, t)
		}
	}
	slices.SortFunc(flaky, func(a, b test) int { return strings.Compare(a.String(), b.String()) })
	return flaky
}
