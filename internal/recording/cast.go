package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"
)

// header is the first line of a recording.
type header struct {
	Version   int               `json:"version"`
	Width     uint              `json:"width"`
	Height    uint              `json:"height"`
	Timestamp int64             `json:"timestamp"`
	Title     string            `json:"title,omitempty"`
	Env       map[string]string `json:"env,omitempty"`
	Octobot   of                `json:"octobot"`
}

// of is what was recorded, and since when: the format's timestamp is in whole seconds.
type of struct {
	Session    string    `json:"session"`
	Origin     string    `json:"origin"`
	Terminal   string    `json:"terminal"`
	TerminalID string    `json:"terminal_id"`
	Started    time.Time `json:"started_at"`
}

func (o of) key() Key {
	return Key{Session: o.Session, Origin: o.Origin, Terminal: o.Terminal, TerminalID: o.TerminalID}
}

// maxHeader bounds a header's line.
const maxHeader = 4 << 10

// state is what a recording's last line tells.
type state struct {
	position int64 // of the byte that is not recorded yet
	missed   int64
	mode     string        // live, ended, full
	at       time.Duration // since the beginning
}

const (
	live  = "live"
	ended = "ended"
	full  = "full"
)

// appendEvent appends an event's line.
func appendEvent(b []byte, at time.Duration, kind string, data []byte) []byte {
	b = append(b, '[')
	b = strconv.AppendFloat(b, at.Seconds(), 'f', 6, 64)
	b = append(b, `,"`...)
	b = append(b, kind...)
	b = append(b, `",`...)
	b = appendString(b, data)
	return append(b, "]\n"...)
}

// appendState appends the line that ends a portion.
func appendState(b []byte, s state) []byte {
	return appendEvent(b, s.at, "p", fmt.Appendf(nil, "%d %d %s", s.position, s.missed, s.mode))
}

// appendString appends text as a string of JSON; what is not UTF-8 becomes U+FFFD, a byte each.
func appendString(b, text []byte) []byte {
	b = append(b, '"')
	for len(text) > 0 {
		c := text[0]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			text = text[1:]
			continue
		case c == '\n':
			b = append(b, `\n`...)
			text = text[1:]
			continue
		case c == '\r':
			b = append(b, `\r`...)
			text = text[1:]
			continue
		case c < ' ' || c == 0x7f:
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			text = text[1:]
			continue
		case c < utf8.RuneSelf:
			b = append(b, c)
			text = text[1:]
			continue
		}
		r, n := utf8.DecodeRune(text)
		b = utf8.AppendRune(b, r)
		text = text[n:]
	}
	return append(b, '"')
}

// splitCharacters cuts text before a character that is not complete.
func splitCharacters(text []byte) (whole, rest []byte) {
	for i := len(text) - 1; i >= 0 && i >= len(text)-utf8.UTFMax; i-- {
		if !utf8.RuneStart(text[i]) {
			continue
		}
		if !utf8.FullRune(text[i:]) {
			return text[:i], text[i:]
		}
		break
	}
	return text, nil
}

// parseState reads a line that [appendState] has written.
func parseState(line []byte) (s state, ok bool) {
	if !bytes.Contains(line, []byte(`,"p",`)) {
		return s, false
	}
	var event [3]any
	if json.Unmarshal(line, &event) != nil {
		return s, false
	}
	at, isNumber := event[0].(float64)
	text, isText := event[2].(string)
	if !isNumber || !isText || event[1] != "p" || at < 0 || at > 1e9 {
		return s, false
	}
	if n, err := fmt.Sscanf(text, "%d %d %s", &s.position, &s.missed, &s.mode); err != nil || n != 3 {
		return s, false
	}
	s.at = time.Duration(at * float64(time.Second))
	known := s.mode == live || s.mode == ended || s.mode == full
	return s, known && s.position >= 0 && s.missed >= 0
}

// errTorn: a file is no recording, or the beginning of one.
var errTorn = errors.New("not a recording")

// readHeader reads the first line.
func readHeader(f io.ReaderAt) (h header, length int64, err error) {
	buf := make([]byte, maxHeader)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return h, 0, err
	}
	end := bytes.IndexByte(buf[:n], '\n')
	if end < 0 || json.Unmarshal(buf[:end], &h) != nil || h.Version != 2 || h.Octobot.Started.IsZero() {
		return h, 0, errTorn
	}
	return h, int64(end) + 1, nil
}

// lastState finds the last line that tells a position, in a file of that size, and where it ends.
// Lines of recordings hold no other line's ends, so what is found is what was written as that.
func lastState(f io.ReaderAt, start, size int64) (s state, end int64, err error) {
	for window := int64(4 << 10); ; window *= 8 {
		from := max(start, size-window)
		buf := make([]byte, size-from)
		if n, err := f.ReadAt(buf, from); err != nil && (!errors.Is(err, io.EOF) || n < len(buf)) {
			return s, 0, err
		}
		for to := bytes.LastIndexByte(buf, '\n'); to >= 0; {
			before := bytes.LastIndexByte(buf[:to], '\n')
			if before < 0 && from > start {
				break // the line's beginning is not here
			}
			if s, ok := parseState(buf[before+1 : to]); ok {
				return s, from + int64(to) + 1, nil
			}
			to = before
		}
		if from == start {
			return s, 0, errTorn
		}
	}
}
