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
	"time"
)

// logged is an entry as an engine keeps it.
type logged struct {
	stream int
	at     int // nanoseconds of the time
	text   string
}

func stampOf(at int) string {
	return time.Date(2026, 1, 2, 3, 4, 5, at, time.UTC).Format(strings.TrimSuffix(stampForm, " "))
}

// framed and raw are how an engine sends entries, without and with a TTY.
func framed(list []logged) string {
	var b bytes.Buffer
	for _, x := range list {
		text := stampOf(x.at) + " " + x.text
		b.Write([]byte{byte(x.stream), 0, 0, 0})
		_ = binary.Write(&b, binary.BigEndian, uint32(len(text)))
		b.WriteString(text)
	}
	return b.String()
}

func raw(list []logged) string {
	var b strings.Builder
	for _, x := range list {
		b.WriteString(stampOf(x.at) + " " + x.text)
	}
	return b.String()
}

var (
	onePiece = strings.Repeat("x", pieceSize)
	stray    = strings.TrimSpace(stampOf(0)) // a time that a program writes, of before
)

func TestLogEntries(t *testing.T) {
	for name, tt := range map[string]struct {
		mends  bool
		in     []logged
		want   string // on either stream, "$n " being the time of n nanoseconds
		framed bool   // can be told only in frames
	}{
		"nothing":          {},
		"lines":            {in: []logged{{1, 1, "a\r\n"}, {1, 2, "b\r\n"}}, want: "$1 a\r\n$2 b\r\n"},
		"no end":           {in: []logged{{1, 1, "a\r\n"}, {1, 2, "b"}}, want: "$1 a\r\n$2 b"},
		"no end, next run": {in: []logged{{1, 1, "a"}, {1, 2, "b\r\n"}}, want: "$1 ab\r\n"},
		"pieces": {in: []logged{{1, 1, onePiece}, {1, 1, onePiece}, {1, 1, "y\r\n"}, {1, 2, "b\r\n"}},
			want: "$1 " + onePiece + onePiece + "y\r\n$2 b\r\n"},
		"pieces, end dropped": {mends: true,
			in:   []logged{{1, 1, onePiece}, {1, 1, onePiece}, {1, 1, "y\r"}, {1, 2, "b\r\n"}},
			want: "$1 " + onePiece + onePiece + "y\r\n$2 b\r\n"},
		"pieces, last empty": {mends: true, in: []logged{{1, 1, onePiece}, {1, 1, ""}, {1, 2, "b\n"}},
			want: "$1 " + onePiece + "\n$2 b\n"},
		"piece, no end, next run": {mends: true, in: []logged{{1, 1, onePiece}, {1, 2, "b\r\n"}},
			want: "$1 " + onePiece + "b\r\n"},
		"short, no end, next run": {mends: true, in: []logged{{1, 1, "a"}, {1, 2, "b"}}, want: "$1 ab"},
		"time in the text": {in: []logged{{1, 1, "at " + stray + " a\r\n"}, {1, 2, stray + " b\r\n"}},
			want: "$1 at " + stray + " a\r\n$2 " + stray + " b\r\n"},
		"empty line": {in: []logged{{1, 1, "\r\n"}, {1, 2, "\n"}}, want: "$1 \r\n$2 \n"},
		"streams apart": {framed: true, in: []logged{{1, 1, onePiece}, {2, 2, "e\n"}, {1, 1, "y\n"}},
			want: "$1 " + onePiece + "y\n$2 e\n"},
		"much of a line": {framed: true, in: []logged{{1, 1, strings.Repeat("z", 3*entryBuffer)}, {1, 1, "\n"}},
			want: "$1 " + strings.Repeat("z", 3*entryBuffer) + "\n"},
	} {
		for _, form := range []string{"frames", "raw"} {
			if form == "raw" && tt.framed {
				continue
			}
			for _, stamps := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, %s, %t", name, form, stamps), func(t *testing.T) {
					want := tt.want
					for at := 1; at <= 2; at++ {
						stamp := ""
						if stamps {
							stamp = stampOf(at) + " "
						}
						want = strings.ReplaceAll(want, fmt.Sprintf("$%d ", at), stamp)
					}
					for _, slow := range []bool{false, true} {
						var out, errs strings.Builder
						pass := &logPass{mends: tt.mends, stamps: stamps, skip: func(*logStream) bool { return false }}
						pass.streams[1].w, pass.streams[2].w = &out, &errs
						var in io.Reader = strings.NewReader(raw(tt.in))
						if form == "frames" {
							in = strings.NewReader(framed(tt.in))
						}
						if slow {
							in = iotest.OneByteReader(in)
						}
						read := newEntries(in).copyStamped
						if form == "frames" {
							read = newEntries(in).copyFrames
						}
						if err := read(pass); err != nil {
							t.Fatal(err)
						}
						if got := out.String() + errs.String(); got != want {
							t.Errorf("got %d bytes %.100q…%q; want %d bytes %.100q…%q", len(got), got, end(got),
								len(want),
								want, end(want))
						}
					}
				})
			}
		}
	}
}

func end(s string) string { return s[max(0, len(s)-60):] }

func TestLogEntriesFail(t *testing.T) {
	whole := framed([]logged{{1, 1, "a\n"}, {2, 2, "b\n"}})
	for name, in := range map[string]string{
		"cut in a header":     whole[:4],
		"cut in an entry":     whole[:20],
		"cut in a text":       whole[:len(whole)-1],
		"unknown stream":      "\x09\x00\x00\x00\x00\x00\x00\x00",
		"no time":             "\x01\x00\x00\x00\x00\x00\x00\x05abcde",
		"not a time":          "\x01\x00\x00\x00\x00\x00\x00\x05ab de",
		"the engine's own":    "\x03\x00\x00\x00\x00\x00\x00\x05evict",
		"the engine's, short": "\x03\x00\x00\x00\x00\x00\xff\xffevict",
	} {
		pass := &logPass{skip: func(*logStream) bool { return false }}
		pass.streams[1].w, pass.streams[2].w = io.Discard, io.Discard
		if err := newEntries(strings.NewReader(in)).copyFrames(pass); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzLogEntries(f *testing.F) {
	f.Add([]byte(framed([]logged{{1, 1, "a\n"}, {2, 2, "b"}})))
	f.Add([]byte(raw([]logged{{1, 1, "a\n"}, {1, 2, "b"}, {1, 3, "c\n"}})))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, read := range []func(entries, *logPass) error{entries.copyFrames, entries.copyStamped, entries.copyRaw} {
			var out bytes.Buffer
			pass := &logPass{mends: true, skip: func(*logStream) bool { return false }}
			pass.streams[1].w, pass.streams[2].w = &out, &out
			_ = read(newEntries(bytes.NewReader(in)), pass)
			if out.Len() > len(in)+pass.entries {
				t.Errorf("%d bytes became %d", len(in), out.Len())
			}
		}
	})
}
