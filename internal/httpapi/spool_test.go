package httpapi

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/front"
)

// TestExecResponse holds what is written piece by piece to what was put in.
func TestExecResponse(t *testing.T) {
	wide := strings.Repeat("a€𝄞\u2028<&>", 20_000)
	for name, tt := range map[string]struct {
		stdout, stderr string
		base64         bool
	}{
		"nothing":               {"", "", false},
		"text":                  {"hello\n", "oh \"no\" \\ \t\x7f", false},
		"a little control":      {"\x1b[31mred\x1b[0m and some more text", "", false},
		"long text":             {strings.Repeat("0123456789abcdef\n", 100_000), "x", false},
		"runes across pieces":   {wide, wide[1:len(wide)-9] + "€", true}, // begins inside no rune
		"wide text":             {wide, "", false},
		"NULs":                  {strings.Repeat("\x00", 1<<20), "", true},
		"binary":                {"\xff\xfe", "text", true},
		"binary behind text":    {strings.Repeat("x", spoolMemory) + "\xff", "", true},
		"half a rune":           {"text", "€"[:2], true},
		"half a rune, and more": {"€"[:2] + "x", "", true},
		"exactly in memory":     {strings.Repeat("x", spoolMemory), strings.Repeat("y", spoolMemory+1), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := spools{dir: t.TempDir()}
			spooled := func(text string) *spool {
				p := s.open(front.Owner{})
				for len(text) > 0 {
					n := min(1+rand.IntN(3)*rand.IntN(20_000), len(text))
					if m, err := p.Write([]byte(text[:n])); m != n || err != nil {
						t.Fatal(m, err)
					}
					text = text[n:]
				}
				return p
			}
			stdout, stderr := spooled(tt.stdout), spooled(tt.stderr)
			var written bytes.Buffer
			if err := writeExecResponse(&written, 3, stdout, stderr); err != nil {
				t.Fatal(err)
			}
			var got v1.ExecResponse
			if err := json.Unmarshal(written.Bytes(), &got); err != nil {
				t.Fatalf("%v in %.200q", err, written.Bytes())
			}
			gotOut, gotErr, err := got.Output()
			if err != nil || string(gotOut) != tt.stdout || string(gotErr) != tt.stderr || got.ExitCode != 3 ||
				got.Truncated {
				t.Errorf("%d and %d bytes, %v; want %d and %d", len(gotOut), len(gotErr), err, len(tt.stdout),
					len(tt.stderr))
			}
			if (got.Encoding != "") != tt.base64 {
				t.Errorf("encoding %q", got.Encoding)
			}
			if most := 200 + 2*(len(tt.stdout)+len(tt.stderr)); written.Len() > most {
				t.Errorf("%d bytes for %d", written.Len(), len(tt.stdout)+len(tt.stderr))
			}
			stdout.close()
			stderr.close()
			if s.all != 0 || len(s.owners) != 0 {
				t.Errorf("%d bytes are reserved still", s.all)
			}
		})
	}
}

// TestSpoolIsBounded checks what is kept where more is written than may be.
func TestSpoolIsBounded(t *testing.T) {
	p, q := front.Owner{Project: "p"}, front.Owner{Project: "q"}
	s := spools{dir: t.TempDir()}
	kept := func(spool *spool) int64 {
		n, err := io.Copy(io.Discard, spool.read())
		if err != nil {
			t.Error(err)
		}
		return n
	}
	mib := make([]byte, 1<<20)
	long := s.open(p)
	for range 17 {
		_, _ = long.Write(mib)
	}
	if n := kept(long); n != 16<<20 || !long.cut {
		t.Errorf("%d bytes are kept of a long stream, cut %t", n, long.cut)
	}
	// The project's room is nearly gone.
	s.reserve(p, spoolOne-s.owners[p]-1<<20)
	full := s.open(p)
	for range 3 {
		_, _ = full.Write(mib)
	}
	if n := kept(full); n != 1<<20 || !full.cut {
		t.Errorf("%d bytes are kept where there is little room, cut %t", n, full.cut)
	}
	other := s.open(q)
	_, _ = other.Write(mib)
	if n := kept(other); n != 1<<20 || other.cut {
		t.Errorf("%d bytes are kept of another project's, cut %t", n, other.cut)
	}
	// A disk that takes nothing cuts too.
	broken := spools{dir: "/nonexistent"}
	none := broken.open(p)
	_, _ = none.Write(mib)
	_, _ = none.Write([]byte("more"))
	if n := kept(none); n != spoolMemory || !none.cut || broken.all != 0 {
		t.Errorf("%d bytes are kept without a disk, cut %t, %d reserved", n, none.cut, broken.all)
	}
}
