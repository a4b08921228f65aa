package vtmode

import (
	"bytes"
	"testing"
)

// kindsOfOutput are what programs write, repeated to a MiB.
var kindsOfOutput = []struct{ name, line string }{
	{"yes", "y\n"},
	{"text", "The quick brown fox jumps over the lazy dog, and the lazy dög does not mind at all.\r\n"},
	{"ls", "\x1b[0m\x1b[01;34mdirectory\x1b[0m  \x1b[01;32mprogram\x1b[0m  file.txt  \x1b[01;36mlink\x1b[0m\r\n"},
	{"vim", "\x1b[?25l\x1b[12;1H\x1b[38;5;130m 12 \x1b[m\x1b[38;2;95;135;175mfunc\x1b[m main() {\x1b[K\r\n" +
		"\x1b[38;5;130m 13 \x1b[m        fmt.\x1b[38;5;30mPrintln\x1b[m(\x1b[38;5;124m\"hello\"\x1b[m)\x1b[K\x1b[?25h"},
	{"titles", "\x1b]0;root@box: ~\a\x1b]7;file://box/root\x1b\\$ true\r\n"},
}

func output(line string) []byte { return bytes.Repeat([]byte(line), 1<<20/len(line)) }

func BenchmarkTracker(b *testing.B) {
	for _, kind := range kindsOfOutput {
		b.Run(kind.name, func(b *testing.B) {
			out := output(kind.line)
			b.SetBytes(int64(len(out)))
			b.ReportAllocs()
			var t Tracker
			for b.Loop() {
				_, _ = t.Write(out)
			}
		})
	}
}

func BenchmarkReplay(b *testing.B) {
	for _, kind := range kindsOfOutput {
		b.Run(kind.name, func(b *testing.B) {
			out := output(kind.line)
			dst := make([]byte, 0, len(out))
			b.SetBytes(int64(len(out)))
			b.ReportAllocs()
			for b.Loop() {
				var r Replay
				dst = r.Flush(r.Append(dst[:0], out))
			}
		})
	}
}
