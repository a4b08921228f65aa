package docker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func frame(stream byte, content string) string {
	header := [8]byte{0: stream}
	binary.BigEndian.PutUint32(header[4:], uint32(len(content)))
	return string(header[:]) + content
}

func TestCopyOutput(t *testing.T) {
	big := strings.Repeat("x", 100<<10)
	tests := map[string]struct {
		tty    bool
		in     string
		stdout string
		stderr string
		fails  bool
	}{
		"nothing":         {},
		"two streams":     {in: frame(1, "out") + frame(2, "err") + frame(1, "more"), stdout: "outmore", stderr: "err"},
		"stream 0":        {in: frame(0, "out"), stdout: "out"},
		"empty frame":     {in: frame(1, "") + frame(1, "a"), stdout: "a"},
		"large frame":     {in: frame(2, big), stderr: big},
		"terminal":        {tty: true, in: frame(1, "raw"), stdout: frame(1, "raw")},
		"cut header":      {in: frame(1, "out")[:5], fails: true},
		"cut frame":       {in: frame(1, "out")[:9], stdout: "o", fails: true},
		"unknown stream":  {in: frame(7, "?"), fails: true},
		"no frame at all": {in: "HTTP/1.1 200 OK", fails: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)),
				iotest.DataErrReader(strings.NewReader(tt.in))} {
				var stdout, stderr bytes.Buffer
				err := copyOutput(tt.tty, r, &stdout, &stderr)
				if (err != nil) != tt.fails || stdout.String() != tt.stdout || stderr.String() != tt.stderr {
					t.Errorf("got %.20q, %.20q, %v", stdout.String(), stderr.String(), err)
				}
			}
		})
	}
}

func TestCopyOutputWriterFails(t *testing.T) {
	broken := errors.New("broken")
	r, w := io.Pipe()
	r.CloseWithError(broken)
	defer w.Close()
	err := copyOutput(false, strings.NewReader(frame(1, "out")), w, io.Discard)
	if _, ok := errors.AsType[*writeError](err); !ok || !errors.Is(err, broken) {
		t.Errorf("error %v; want the writer's, marked as such", err)
	}
}

func TestOpening(t *testing.T) {
	const docker = "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nope\": executable file not found in $PATH: unknown\r\n"
	const podman = "Error: runc: exec failed: unable to start container process: exec: \"nope\": executable file not found in $PATH: OCI runtime attempted to invoke a command that was not found\n"
	for name, tt := range map[string]struct {
		writes []string
		runs   bool
		asked  bool
		passed string // while it runs
	}{
		"nothing":           {},
		"docker":            {[]string{docker}, false, true, ""},
		"podman":            {[]string{podman, "Error: read unixpacket\n"}, false, true, ""},
		"of what runs":      {[]string{docker, "more"}, true, true, docker + "more"},
		"not the beginning": {[]string{"hello\n", docker}, false, false, "hello\n" + docker},
		"much more": {[]string{docker, strings.Repeat("x", maxReason)}, false, true, docker +
			strings.Repeat("x", maxReason)},
		"much at once": {[]string{docker + strings.Repeat("x", maxReason)}, false, true, docker +
			strings.Repeat("x", maxReason)},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			asked := false
			o := &opening{runs: func([]byte) bool { asked = true; return tt.runs }}
			w := o.of(&out)
			for _, s := range tt.writes {
				if _, err := io.WriteString(w, s); err != nil {
					t.Fatal(err)
				}
			}
			if asked != tt.asked || out.String() != tt.passed {
				t.Errorf("asked %v, passed on %.60q", asked, out.String())
			}
			if asked && !strings.Contains(o.reason(), "executable file not found") {
				t.Errorf("reason %q", o.reason())
			}
			if err := o.pass(); err != nil || out.String() != strings.Join(tt.writes, "") {
				t.Errorf("after pass: %.60q, %v", out.String(), err)
			}
		})
	}
}

// TestExecFailure has what Docker's and Podman's inits say, and what Podman's has said while it is
// still at it.
func TestExecFailure(t *testing.T) {
	for log, want := range map[string]struct {
		reason string
		whole  bool
	}{
		"[FATAL tini (7)] exec nope failed: No such file or directory\n": {"nope failed: No such file or directory",
			true},
		"[FATAL tini (7)] exec nope failed: No such file or directory\r\n": {"nope failed: No such file or directory",
			true},
		"ERROR (catatonit:6): failed to exec pid1: No such file or directory\n": {"pid1: No such file or directory",
			true},
		"ERROR (catatonit:6): failed to exec pid1: No such file or directory": {"", false},
		"ERROR (catatonit:6): ": {"", false},
		"":                      {"", false},
		"before\nERROR (catatonit:6): failed to exec pid1: Permission denied\n": {"pid1: Permission denied",
			true},
		"ERROR (catatonit:6): failed to exec pid1: Permission denied\nafter\n":         {"", true},
		"ERROR (catatonit:2): failed to register signal fd: Operation not permitted\n": {"", true},
		"sh: can't open 'script': No such file or directory\n":                         {"", true},
	} {
		if reason, whole := execFailure(log); reason != want.reason || whole != want.whole {
			t.Errorf("%q: reason %q, whole %v", log, reason, whole)
		}
	}
}

func TestLogTail(t *testing.T) {
	var tail logTail
	for i := range 10_000 {
		fmt.Fprintf(&tail, "line %d of many\n", i)
	}
	if len(tail) > 64<<10 || !strings.HasSuffix(string(tail), "line 9998 of many\nline 9999 of many\n") {
		t.Errorf("%d bytes are kept: %q", len(tail), tail[max(0, len(tail)-50):])
	}
}
