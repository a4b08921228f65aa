// Command testreport reads what go test -json writes and prints what a person
// wants of it: go test's own line for each package, and all output of the tests that failed.
// It fails where a test failed, and where one skipped that the list of allowed skips does not
// name.
//
//	go test -json ./... | go run ./scripts/testreport -skips scripts/allowed-skips.txt
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	list := flag.String("skips", "", "file that names the tests which may skip")
	flag.Parse()
	ok, err := run(*list, os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

func run(list string, in io.Reader, out io.Writer) (ok bool, err error) {
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
	r := newReport(allowed, out)
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if err == io.EOF {
			return r.end(), nil
		}
		if err != nil {
			return false, fmt.Errorf("read events: %w", err)
		}
	}
}
