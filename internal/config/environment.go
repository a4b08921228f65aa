package config

import (
	"fmt"
	"slices"
	"strings"
)

const envPrefix = "OCTOBOT_"

// clientVariables are those of the commands that talk to a daemon. They, the file's, and the one
// that a session's commands have are no settings.
var clientVariables = []string{"OCTOBOT_DATA_DIR", "OCTOBOT_TOKEN", "OCTOBOT_URL"}

// StrayVariable is a variable that has the prefix of ours, and that nothing reads.
type StrayVariable struct {
	Name string
	Near string // the variable that may be meant; empty where none is near
}

func (v StrayVariable) String() string {
	s := v.Name + " is not a variable of octobot's, and has no effect"
	if v.Near != "" {
		s += "; did you mean " + v.Near + "?"
	}
	return s
}

// StrayVariables finds those of an environment, as os.Environ gives it, in the order of their
// names. The tests' own are not among them.
func StrayVariables(environ []string) []StrayVariable {
	known := append([]string{"OCTOBOT_CONFIG", "OCTOBOT_EXEC"}, clientVariables...)
	for _, s := range Settings() {
		known = append(known, s.Env())
	}
	slices.Sort(known)
	var stray []StrayVariable
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, envPrefix+"TEST_") ||
			slices.Contains(known, name) {
			continue
		}
		stray = append(stray, StrayVariable{showName(name), nearest(name, known)})
	}
	slices.SortFunc(stray, func(a, b StrayVariable) int { return strings.Compare(a.Name, b.Name) })
	return stray
}

// nearest gives the name that another was written for, if it is one of them.
func nearest(name string, known []string) string {
	near, least := "", max(3, 1+(len(name)-len(envPrefix))/3) // so many slips are one too many
	for _, k := range known {
		if d := distance(name, k); d < least {
			near, least = k, d
		}
	}
	return near
}

// ForClients reports whether a variable of the commands that talk to a daemon may be meant.
func (v StrayVariable) ForClients() bool { return slices.Contains(clientVariables, v.Near) }

// showName shows a name that can be of any length and hold any byte.
func showName(name string) string {
	if word(name) {
		return name
	}
	return fmt.Sprintf("%.80q", name)
}

// distance is how many letters have to be put in, left out or replaced to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
