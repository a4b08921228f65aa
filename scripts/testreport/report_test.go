package main

import (
	"os"
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
{"Action":"output","Package":"example.com/p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"pass","Package":"example.com/p","Test":"TestA"}
{"Action":"output","Package":"example.com/p","Output":"PASS\n"}
{"Action":"output","Package":"example.com/p","Output":"ok  \texample.com/p\t0.1s\n"}
{"Action":"pass","Package":"example.com/p"}
`,
			ok:   true,
			want: "ok  \texample.com/p\t0.1s\n",
		},
		{
			name: "failed in the second of two rounds",
			events: `{"Action":"run","Package":"example.com/p","Test":"TestA"}
{"Action":"output","Package":"example.com/p","Test":"TestA","Output":"first round\n"}
{"Action":"pass","Package":"example.com/p","Test":"TestA"}
{"Action":"run","Package":"example.com/p","Test":"TestA"}
{"Action":"output","Package":"example.com/p","Test":"TestA","Output":"second round\n"}
{"Action":"fail","Package":"example.com/p","Test":"TestA"}
{"Action":"output","Package":"example.com/p","Output":"FAIL\n"}
{"Action":"output","Package":"example.com/p","Output":"FAIL\texample.com/p\t0.1s\n"}
{"Action":"fail","Package":"example.com/p"}
`,
			want: "second round\nFAIL\nFAIL\texample.com/p\t0.1s\ntestreport: example.com/p failed\n",
		},
		{
			name: "never ended",
			events: `{"Action":"run","Package":"example.com/p","Test":"TestA"}
{"Action":"output","Package":"example.com/p","Test":"TestA","Output":"panic: test timed out\n"}
{"Action":"output","Package":"example.com/p","Output":"FAIL\texample.com/p\t0.1s\n"}
{"Action":"fail","Package":"example.com/p"}
`,
			want: "panic: test timed out\nFAIL\texample.com/p\t0.1s\ntestreport: example.com/p failed\n",
		},
		{
			name: "skipped by the list",
			events: `{"Action":"run","Package":"example.com/p","Test":"TestAllowed/deep"}
{"Action":"skip","Package":"example.com/p","Test":"TestAllowed/deep"}
{"Action":"output","Package":"example.com/p","Output":"ok  \texample.com/p\t0.1s\n"}
`,
			ok:   true,
			want: "ok  \texample.com/p\t0.1s\n",
		},
		{
			name: "skipped against the list",
			events: `{"Action":"run","Package":"example.com/p","Test":"TestAllowed"}
{"Action":"output","Package":"example.com/p","Test":"TestAllowed","Output":"    p_test.go:3: no engine\n"}
{"Action":"skip","Package":"example.com/p","Test":"TestAllowed"}
{"Action":"output","Package":"example.com/p","Output":"ok  \texample.com/p\t0.1s\n"}
`,
			want: "    p_test.go:3: no engine\nok  \texample.com/p\t0.1s\n" +
				"testreport: example.com/p TestAllowed skipped, and is not on the list of tests that may\n",
		},
		{
			name: "did not build",
			events: `{"ImportPath":"example.com/p","Action":"build-output","Output":"p.go:1: broken\n"}
{"ImportPath":"example.com/p","Action":"build-fail"}
{"Action":"output","Package":"example.com/p","Output":"FAIL\texample.com/p [build failed]\n"}
{"Action":"fail","Package":"example.com/p","FailedBuild":"example.com/p"}
`,
			want: "p.go:1: broken\nFAIL\texample.com/p [build failed]\n" +
				"testreport: a build failed\ntestreport: example.com/p failed\n",
		},
		{
			name:   "not an event",
			events: "go: cannot find main module\n",
			ok:     true,
			want:   "go: cannot find main module\n",
		},
	}
	path := filepath.Join(t.TempDir(), "skips")
	if err := os.WriteFile(path, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			ok, err := run(path, strings.NewReader(tt.events), &out)
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
