package vtmode

import (
	"bytes"
	"strconv"
)

// Replay passes output on for showing it again, to a terminal other than the one that it was
// written to. It leaves out what makes a terminal answer, for the answer would be typed into a
// program that has not asked, and what has effects elsewhere: bells, notifications, the clipboard,
// the window's size.
//
// It begins with what the tracker knows of the output before. So a fresh terminal is shown what
// AppendSet gives, then what Append gives of the output that is kept, then what Flush gives, and
// then, as it is, what programs write from there on. The tracker's Write is not for a replay.
type Replay struct {
	Tracker
	// Rows is the height of the terminal that the output was written to; zero: unknown. Lines that
	// scroll, and were all there, are all there are in one of another height, too.
	Rows    int
	begun   bool
	passing bool // the string that is not held goes on
	flushed bool
}

// AppendSet is the tracker's, but for what a terminal reports on as soon as it is switched on: that
// comes with Flush, if it still is on then.
func (r *Replay) AppendSet(b []byte) []byte {
	r.widenRegion()
	return r.state.appendSet(b, reportsAtOnce)
}

// widenRegion makes a region of all rows none; true where it was one.
func (r *Replay) widenRegion() bool {
	if r.Rows == 0 || r.state.top != 1 || int(r.state.bottom) != r.Rows {
		return false
	}
	r.state.top, r.state.bottom = 0, 0
	return true
}

// Append appends to dst what of b is for showing. The output may be split anywhere. A sequence that
// began before the first call is passed on in whole if the tracker still has its start; otherwise
// its rest is dropped, as is that of a character.
//
// A sequence that is not complete is held back. One that never was is dropped. A string that is
// longer than 4 KiB is passed on as it comes, or dropped, as its start suggests.
func (r *Replay) Append(dst, b []byte) []byte {
	if r.flushed {
		_, _ = r.Write(b)
		return append(dst, b...)
	}
	if !r.begun {
		for r.parser.at == inText && len(b) > 0 && b[0]&0xc0 == 0x80 {
			b = b[1:]
		}
		r.begun = len(b) > 0
	}
	for len(b) > 0 {
		n, what, seq := r.parser.next(b)
		raw := b[:n]
		b = b[n:]
		switch what {
		case text:
			r.state.shift(raw)
			dst = appendText(dst, raw)
		case complete:
			dst = r.appendSequence(dst, seq)
		case tooLong:
			held := r.parser.held[:r.parser.n]
			if r.passing = !leftOut(append(held, stringEnd...)); r.passing {
				dst = append(dst, held...)
			}
		case rest:
			if r.passing {
				dst = append(dst, raw...)
			}
		case ended:
			r.state.sequence(seq)
			if r.passing {
				dst = append(dst, seq[r.parser.n:]...)
			}
			r.passing = false
		case cancelled:
			if r.passing {
				dst = append(dst, can)
			}
			r.passing = false
		}
	}
	return dst
}

// Flush appends what is still to be shown before output that is passed on as it is, which Append
// does from now on. Repeated, it appends nothing.
func (r *Replay) Flush(dst []byte) []byte {
	if r.flushed {
		return dst
	}
	r.flushed = true
	for _, m := range r.state.modes.all() {
		if reportsAtOnce(m) && !r.passing {
			dst = m.append(dst, false)
		}
	}
	p := &r.parser
	switch {
	case p.at == inText:
		return dst
	case !p.long:
		dst = append(dst, p.held[:p.n]...)
	case !r.passing:
		dst = append(dst, ignored(p)...)
	}
	if p.at == inStringEnd {
		dst = append(dst, esc)
	}
	return dst
}

// ignored begins a sequence that has no effect, and ends as that which was dropped so far.
func ignored(p *parser) string {
	switch {
	case p.at == inEscape:
		return "\x1b  "
	case p.at == inControl:
		return "\x1b[ 0"
	case p.held[1] == ']':
		return "\x1b]9999;" // may end with BEL
	default:
		return "\x1b^"
	}
}

func appendText(dst, b []byte) []byte {
	if bytes.IndexByte(b, bel) < 0 && bytes.IndexByte(b, enq) < 0 {
		return append(dst, b...)
	}
	for _, c := range b {
		if c != bel && c != enq {
			dst = append(dst, c)
		}
	}
	return dst
}

// appendSequence appends a sequence, if it is for showing, and lets the tracker know it.
func (r *Replay) appendSequence(dst, seq []byte) []byte {
	var c control
	switch {
	case seq[1] != '[':
		r.state.sequence(seq)
		if leftOut(seq) {
			return dst
		}
	case c.parse(seq): // once, as most are of this kind
		r.state.control(&c)
		switch {
		case c.asks():
			return dst
		case c.final == 'h' && c.private == '?' && c.inter == 0:
			return appendModes(dst, c.params)
		case c.final == 'r' && c.private == 0 && c.inter == 0 && r.widenRegion():
			return append(dst, "\x1b[r"...)
		}
	default:
		return dst
	}
	return append(dst, seq...)
}

// appendModes appends what sets private modes, without those that a terminal reports on.
func appendModes(dst, list []byte) []byte {
	start := len(dst)
	dst = append(dst, "\x1b[?"...)
	some := false
	for list != nil {
		var n int
		n, list = first(list)
		if !reportsAtOnce(mode(n)) {
			dst = append(strconv.AppendInt(dst, int64(n), 10), ';')
			some = true
		}
	}
	if !some {
		return dst[:start]
	}
	dst[len(dst)-1] = 'h'
	return dst
}
