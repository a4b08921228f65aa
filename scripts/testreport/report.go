package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is one line of go test -json; see go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// test identifies a test or, with an empty name, a package's own output.
type test struct{ pkg, name string }

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

type report struct {
	out     io.Writer
	allowed skips

	running map[test]*strings.Builder // output of tests that have not ended
	failed  map[string]string         // output of tests that failed, by package
	bad     []string                  // what went wrong, a line each
}

func newReport(allowed skips, out io.Writer) *report {
	return &report{out: out, allowed: allowed, running: map[test]*strings.Builder{}, failed: map[string]string{}}
}

// line takes one line. What is not an event, such as the go command's own
// complaints, is passed on.
func (r *report) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil || e.Action == "" {
		r.out.Write(line)
		return
	}
	switch t := (test{e.Package, e.Test}); {
	case e.Action == "build-output":
		io.WriteString(r.out, e.Output)
	case e.Action == "build-fail":
		r.bad = append(r.bad, "a build failed")
	case t.name == "":
		r.pkg(e)
	case e.Action == "run":
		r.running[t] = &strings.Builder{}
	case e.Action == "output":
		if b, ok := r.running[t]; ok {
			b.WriteString(e.Output)
		}
	case e.Action == "fail":
		r.fail(t)
	case e.Action == "skip":
		if _, ok := r.allowed[t]; !ok {
			r.bad = append(r.bad, fmt.Sprintf("%s %s skipped, and is not on the list of tests that may", t.pkg, t.name))
			if b, ok := r.running[t]; ok {
				io.WriteString(r.out, b.String())
			}
		}
		delete(r.running, t)
	case e.Action == "pass":
		delete(r.running, t)
	}
}

// pkg takes an event of a package: go test's verdict on it, and output of no test's.
func (r *report) pkg(e event) {
	self := test{pkg: e.Package}
	switch e.Action {
	case "output":
		if isVerdict(e.Output) {
			r.flush(e)
			return
		}
		if r.running[self] == nil {
			r.running[self] = &strings.Builder{}
		}
		r.running[self].WriteString(e.Output)
	case "fail":
		r.bad = append(r.bad, e.Package+" failed")
	}
	if e.Action != "output" && e.Action != "start" {
		delete(r.running, self)
	}
}

// isVerdict finds the line that go test ends a package with.
func isVerdict(line string) bool {
	return strings.HasPrefix(line, "ok  \t") || strings.HasPrefix(line, "FAIL\t") || strings.HasPrefix(line, "?   \t")
}

// flush prints a package's verdict; before it, where that is a failure, the output of
// every test that failed or never ended, and of the package itself.
func (r *report) flush(e event) {
	if strings.HasPrefix(e.Output, "FAIL") {
		var unfinished []test
		for t := range r.running {
			if t.pkg == e.Package && t.name != "" {
				unfinished = append(unfinished, t)
			}
		}
		slices.SortFunc(unfinished, func(a, b test) int { return strings.Compare(a.name, b.name) })
		for _, t := range unfinished {
			r.fail(t)
		}
		io.WriteString(r.out, r.failed[e.Package])
		if b := r.running[test{pkg: e.Package}]; b != nil {
			io.WriteString(r.out, b.String())
		}
	}
	io.WriteString(r.out, e.Output)
}

func (r *report) fail(t test) {
	if b, ok := r.running[t]; ok {
		r.failed[t.pkg] += b.String()
		delete(r.running, t)
	}
}

// end says what went wrong, if anything, and tells whether nothing did. Where all is well
// it prints nothing: go test's lines are the last.
func (r *report) end() bool {
	for _, line := range slices.Compact(r.bad) {
		fmt.Fprintln(r.out, "testreport:", line)
	}
	return len(r.bad) == 0
}
