// Command testreport judges a run of gotestsum by the file of events that it wrote. It names
// the tests that failed and passed when they ran again, which is no failure. It fails where a test
// skipped that the list of allowed skips does not name, and where something failed that running
// tests again can't clear: a package outside its tests, such as a goroutine that TestMain found
// left over, or a test that never ended. (Data races, panics and broken builds gotestsum itself
// does not run again.)
//
//	testreport -skips scripts/allowed-skips.txt events.json
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	list := flag.String("skips", "", "file that names the tests which may skip")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: testreport [-skips FILE] EVENTS")
		os.Exit(2)
	}
	ok, err := run(*list, flag.Arg(0), os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

func run(list, events string, out io.Writer) (ok bool, err error) {
	allowed := skips{}
	if list != "" {
		f, err := os.Open(list)
		if err != nil {
			return false, err
		}
		defer f.Close()
		if allowed, err = readSkips(f); err != nil {
			return false, fmt.Errorf("%s: %w", list, err)
		}
	}
	f, err := os.Open(events)
	if err != nil {
		return false, err
	}
	defer f.Close()
	r := newReport(allowed)
	if err := r.read(f); err != nil {
		return false, fmt.Errorf("%s: %w", events, err)
	}
	return r.print(out), nil
}
