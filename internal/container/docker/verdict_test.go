package docker

import "testing"

func TestBlamesProgram(t *testing.T) {
	const exec = "OCI runtime exec failed: exec failed: unable to start container process: "
	for name, reasons := range map[string]map[string]bool{
		"e":       {exec + `exec: "e": executable file not found in $PATH: unknown`: true},
		"stat":    {exec + `exec: "stat": executable file not found in $PATH`: true},
		"/nope/i": {exec + `exec: "/nope/i": stat /nope/i: no such file or directory: unknown`: true},
		`a"b`:     {exec + `exec: "a\"b": executable file not found in $PATH: unknown`: true},
		"/etc":    {exec + `exec: "/etc": is a directory: unknown`: true},
		"permission denied": {
			exec + `exec: "permission denied": executable file not found in $PATH: unknown`:            true,
			`container 12ab is not running: can't start "permission denied"`:                           false,
			exec + `exec: "permission denied": reading from the init: connection reset by peer: again`: false,
		},
	} {
		for reason, want := range reasons {
			if got := blamesProgram(reason, name); got != want {
				t.Errorf("%q of %q: %v; want %v", reason, name, got, want)
			}
		}
	}
}
