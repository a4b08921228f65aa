package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxEnvLine bounds a line of a file of variables.
const maxEnvLine = 1 << 20

// withOwnValues replaces names without a value by octobot's own variables, and leaves out
// those that octobot does not have.
func withOwnValues(env []string) []string {
	var full []string
	for _, e := range env {
		if !strings.Contains(e, "=") && e != "" {
			value, ok := os.LookupEnv(e)
			if !ok {
				continue
			}
			e += "=" + value
		}
		full = append(full, e)
	}
	return full
}

// readEnvFile reads a file as docker does: NAME=value lines, whose values are taken as they are;
// empty ones and those that start with # are passed over, and NAME alone takes octobot's own value.
// Errors name the file and the line.
func readEnvFile(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	env, err := parseEnv(f, name)
	return withOwnValues(env), err
}

func parseEnv(r io.Reader, name string) ([]string, error) {
	var env []string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEnvLine)
	n := 0
	for lines.Scan() {
		n++
		line := lines.Text()
		if n == 1 {
			line = strings.TrimPrefix(line, "\ufeff") // a byte order mark
		}
		line = strings.TrimLeftFunc(line, unicode.IsSpace)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if problem := checkEnvLine(line); problem != "" {
			return nil, fmt.Errorf("%s:%d: %s", name, n, problem)
		}
		env = append(env, line)
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("%s:%d: the line is longer than %d bytes", name, n+1, maxEnvLine)
	case err != nil: // it names the file
		return nil, err
	}
	return env, nil
}

func checkEnvLine(line string) string {
	variable, _, hasValue := strings.Cut(line, "=")
	switch {
	case !utf8.ValidString(line):
		return "it is not UTF-8"
	case strings.ContainsRune(line, 0):
		return "it has a NUL byte"
	case variable == "":
		return "no name is before the \"=\""
	case strings.HasPrefix(variable, "export ") && hasValue:
		return fmt.Sprintf("%.64q has a space; this is no shell, so leave \"export\" out", variable)
	case strings.ContainsFunc(variable, unicode.IsSpace):
		return fmt.Sprintf("the name %.64q has a space", variable)
	}
	return ""
}
