package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const list = `# tests that may skip
example.com/p TestAllowed/deep the engine has a fault
`

func TestReport(t *testing.T) {
	tests := []struct {
		name   string
		events string
		ok     bool
		want   string // the whole output
	}{
		{
			name: "passed",
			events: `{"Action":"start","Package":"example.com/p"}
{"Action":"run","Package":"example.com/p","Test":"TestA"}
{"Action":"pass","Package":"example.com/p","Test":"TestA"}
{"Action":"pass","Package":"example.com/p"}
`,
			ok: true,
		},
		{
			name: "failed, and again",
			events: `{"Action":"start","Package":"example.com/p"}
{"Action":"run","Package":"example.com/p","Test":"TestA"}
{"Action":"fail","Package":"example.com/p","Test":"TestA"}
{"Action":"fail","Package":"example.com/p"}
{"Action":"start","Package":"example.com/p"}
{"Action":"run","Package":"example.com/p","Test":"TestA"}
{"Action":"fail","Package":"example.com/p","Test":"TestA"}
{"Action":"fail","Package":"example.com/p"}
`,
			ok: true, // gotestsum's to judge
		},
		{
			name: "leaked when it ran again",
			events: `{"Action":"start","Package":"example.com/p"}
{"Action":"run","Package":"example.com/p","Test":"TestA"}
{"Action":"fail","Package":"example.com/p","Test":"TestA"}
{"Action":"fail","Package":"example.com/p"}
{"Action":"start","Package":"example.com/p"}
{"Action":"run","Package":"example.com/p","Test":"TestA"}
{"Action":"pass","Package":"example.com/p","Test":"TestA"}
{"Action":"fail","Package":"example.com/p"}
`,
			want: "testreport: example.com/p failed outside its tests\nflaky: example.com/p TestA\n",
		},
		{
			name: "skipped by the list",
			events: `{"Action":"run","Package":"example.com/p","Test":"TestAllowed/deep"}
{"Action":"skip","Package":"example.com/p","Test":"TestAllowed/deep"}
`,
			ok: true,
		},
		{
			name: "skipped against the list",
			events: `{"Action":"run","Package":"example.com/p","Test":"TestAllowed"}
{"Action":"skip","Package":"example.com/p","Test":"TestAllowed"}
`,
			want: "testreport: example.com/p TestAllowed skipped, and is not on the list of tests that may\n",
		},
		{
			name: "without tests",
			events: `{"Action":"start","Package":"example.com/p"}
{"Action":"skip","Package":"example.com/p"}
`,
			ok: true,
		},
	}
	path := write(t, t.TempDir(), "skips", list)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			ok, err := run(path, write(t, t.TempDir(), "events", tt.events), &out)
			if err != nil {
				t.Fatal(err)
			}
			if ok != tt.ok || out.String() != tt.want {
				t.Errorf("ok %v, output:\n%s\nwant %v:\n%s", ok, out.String(), tt.ok, tt.want)
			}
		})
	}
}

func TestReadSkipsWantsReasons(t *testing.T) {
	if _, err := readSkips(strings.NewReader("example.com/p TestA\n")); err == nil {
		t.Error("a skip without a reason was accepted")
	}
}

func TestCutShort(t *testing.T) {
	events := write(t, t.TempDir(), "events", `{"Action":"start","Pack`)
	if ok, err := run("", events, &bytes.Buffer{}); ok || err == nil {
		t.Errorf("events that end in the middle: %v, %v", ok, err)
	}
}

// TestGotest runs scripts/gotest.sh on modules with one fault each.
func TestGotest(t *testing.T) {
	script, err := filepath.Abs("../gotest.sh")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		body string // of the test's package
		ok   bool
		want []string // parts of the output
		not  string   // what must not be in it
	}{
		{
			name: "passes",
			body: `func TestA(t *testing.T) {}`,
			ok:   true,
			want: []string{"DONE 1 tests in "},
			not:  "flaky",
		},
		{
			name: "fails once",
			body: `func TestA(t *testing.T) { t.Run("sub", func(t *testing.T) { if first() { t.Error("the reason") } }) }`,
			ok:   true,
			want: []string{"the reason", "\nflaky: example.com/m TestA/sub\nDONE 2 runs, "},
			not:  "TestA\n",
		},
		{
			name: "fails always",
			body: `func TestA(t *testing.T) { t.Error("the reason") }`,
			want: []string{"the reason", "DONE 3 runs, "},
			not:  "flaky",
		},
		{
			name: "race",
			body: `func TestA(t *testing.T) {
				if first() { n, done := 0, make(chan bool); go func() { n++; close(done) }(); n++; <-done }
			}`,
			want: []string{"data race", "DONE 1 tests, 1 failure"},
			not:  "flaky",
		},
		{
			name: "panics once",
			body: `func TestA(t *testing.T) { if first() { panic("the reason") } }`,
			want: []string{"the reason", "DONE 1 tests, 1 failure"},
			not:  "flaky",
		},
		{
			name: "TestMain fails once",
			body: `func TestMain(m *testing.M) { m.Run(); if first() { os.Exit(1) } }
				func TestA(t *testing.T) {}`,
			want: []string{"testreport: example.com/m failed outside its tests\nDONE "},
		},
		{
			name: "exits in the middle",
			body: `func TestA(t *testing.T) { if first() { os.Exit(3) } }`,
			want: []string{"testreport: example.com/m TestA did not end\nDONE "},
		},
		{
			name: "does not build",
			body: `func TestA(t *testing.T) { missing() }`,
			want: []string{"undefined: missing", "testreport: example.com/m does not build\nDONE "},
		},
		{
			name: "skips",
			body: `func TestA(t *testing.T) { t.Skip() }`,
			want: []string{"testreport: example.com/m TestA skipped, and is not on the list of tests that may\nDONE "},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "go.mod", "module example.com/m\n")
			write(t, dir, "m_test.go", `package m
				import ("os"; "testing")
				var _ = os.Exit
				// first is true once.
				func first() bool { f, err := os.OpenFile("seen", os.O_CREATE|os.O_EXCL, 0o600); f.Close(); return err == nil }
				`+tt.body)
			cmd := exec.CommandContext(t.Context(), script, "-count=1", "--", ".")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
				t.Fatal(err)
			}
			if (err == nil) != tt.ok {
				t.Errorf("%v; want success to be %v", err, tt.ok)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("%q is missing", want)
				}
			}
			if tt.not != "" && strings.Contains(string(out), tt.not) {
				t.Errorf("%q is there", tt.not)
			}
			if lines := strings.Split(strings.TrimSpace(string(out)), "\n"); !strings.HasPrefix(lines[len(lines)-1],
				"DONE ") {
				t.Errorf("the last line is %q", lines[len(lines)-1])
			}
			if t.Failed() {
				t.Logf("output:\n%s", out)
			}
		})
	}
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
