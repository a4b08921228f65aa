package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/octobot-run/octobot/api/v1"
)

func TestParseEnv(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                 nil,
		"\ufeffA=1\nB=2":                   {"A=1", "B=2"},
		"# c\n\n  \t# d\n A=1 \r\nB=x y\n": {"A=1 ", "B=x y"},
		"A==\"x\"\nB=\nC":                  {"A==\"x\"", "B=", "C"},
		"Ä=ö\n\ufeff=1":                    {"Ä=ö", "\ufeff=1"}, // only the first line's is a mark
	} {
		got, err := parseEnv(strings.NewReader(text), "f")
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"A=1\nexport B=2": `f:2: "export B" has a space; this is no shell, so leave "export" out`,
		"A B=1":           `f:1: the name "A B" has a space`,
		"A=1\n\nB\t=1":    `f:3: the name "B\t" has a space`,
		"A B":             `f:1: the name "A B" has a space`,
		"=1":              `f:1: no name is before the "="`,
		"A=\xff":          `f:1: it is not UTF-8`,
		"A=\x00":          `f:1: it has a NUL byte`,
		"A=1\nB=" + strings.Repeat("x", maxEnvLine): `f:2: the line is longer than 1048576 bytes`,
	} {
		got, err := parseEnv(strings.NewReader(text), "f")
		if err == nil || err.Error() != want {
			t.Errorf("%.80q: %q, %v; want %s", text, got, err, want)
		}
	}
}

func TestEnvFileOfWindows(t *testing.T) {
	dir, files := startDaemon(t), t.TempDir()
	file := filepath.Join(files, "env")
	t.Setenv("OWN", "mine")
	if err := os.WriteFile(file, []byte("\ufeffA=1\r\nOWN\nNOBODYS\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var s v1.Session
	decode(t, must(t, dir, "create", "--env-file", file, "-e", "B=2", "-o", "json", "demo"), &s)
	if !slices.Equal(s.Env, []string{"A=1", "OWN=mine", "B=2"}) {
		t.Errorf("%q", s.Env)
	}
	r := octobot(t, dir, "create", "--env-file", files, "other")
	if r.code == 0 || !strings.Contains(r.stderr, files+": is a directory") {
		t.Errorf("a directory: exit code %d, %s", r.code, r.stderr)
	}
}

// TestNoUTF8 gives the commands what can't be told to the daemon as it is.
func TestNoUTF8(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	t.Setenv("BYTES", "\xff")
	for _, args := range [][]string{
		{"exec", "demo", "echo", "a\xffb"}, {"exec", "-e", "A=\xff", "demo", "true"},
		{"create", "--label", "a=\xff", "x"},
		{"create", "x", "--", "sh", "\xff"}, {"create", "-e", "BYTES", "x"}, {"rm", "\xff"},
		{"token", "create", "\xff"},
		{"exec", "-w", "/\xff", "demo", "true"}, {"logs", "\xff"}, {"exec", "-d", "demo", "\xff"},
	} {
		r := octobot(t, dir, args...)
		if want := map[bool]int{true: exitOwnError, false: exitError}[args[0] == "exec"]; r.code != want ||
			!strings.Contains(r.stderr, "UTF-8") || r.stdout != "" {
			t.Errorf("%q: exit code %d, %s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	if got := must(t, dir, "ls", "-q"); got != "demo\n" {
		t.Errorf("sessions %q", got)
	}
	// Names of files are any bytes.
	local := filepath.Join(t.TempDir(), "\xff")
	if err := os.WriteFile(local, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, dir, "cp", local, "demo:/tmp/a\xffb")
	if got := must(t, dir, "files", "cat", "demo:/tmp/a\xffb"); got != "x" {
		t.Errorf("the file holds %q", got)
	}
}
