package vtmode

import "bytes"

const (
	enq = 0x05
	bel = 0x07
	so  = 0x0e
	si  = 0x0f
	can = 0x18
	sub = 0x1a
	esc = 0x1b
	del = 0x7f
)

const (
	// maxHeld bounds what is kept of a sequence that is not complete.
	maxHeld = 4<<10 - len(stringEnd)

	stringEnd = "\x1b\\"
)

// place is where between the bytes of a sequence a parser is.
type place uint8

const (
	inText place = iota
	inEscape
	inControl   // CSI
	inString    // OSC, DCS, SOS, PM or APC, as held[1] tells
	inStringEnd // in a string, ESC has come, and a backslash would end it
)

// parser takes output apart. It has the start of a sequence that is not complete.
type parser struct {
	at   place
	long bool // the sequence is longer than what is held of it
	n    int  // of held
	held [maxHeld + len(stringEnd)]byte
}

// event is what bytes of the output are.
type event uint8

const (
	text      event = iota // is shown or, where it is a control character, carried out
	taken                  // belongs to a sequence that is not complete
	complete               // ends a sequence
	cancelled              // ends a sequence without effect, or shows that the one before had ended so
	tooLong                // from here on the string that has begun is no longer held
	rest                   // belongs to a string that is no longer held
	ended                  // ends such a string
)

// next says what the first n bytes of b are, which is not empty. Of a sequence that is complete or
// ended it gives the bytes, without control characters in its midst and, if it was not held to the
// end, without what was not; they are valid until the next call. Such characters in a sequence are
// text.
func (p *parser) next(b []byte) (n int, what event, seq []byte) {
	switch p.at {
	case inText:
		i := bytes.IndexByte(b, esc)
		if i < 0 {
			return len(b), text, nil
		}
		if i > 0 {
			return i, text, nil
		}
		if n := plain(b); n > 0 {
			return n, complete, b[:n]
		}
		p.begin()
		return 1, taken, nil
	case inString:
		return p.nextOfString(b)
	case inStringEnd:
		if b[0] != '\\' {
			p.begin()
			return 0, cancelled, nil
		}
		return p.endString(1, esc, '\\')
	}

	c := b[0]
	switch {
	case c == esc:
		p.begin()
		return 1, cancelled, nil
	case c == can || c == sub:
		p.at = inText
		return 1, cancelled, nil
	case c < ' ':
		return 1, text, nil
	case c == del:
		return 1, taken, nil
	case c > del:
		p.at = inText
		return 0, cancelled, nil
	}
	p.hold(c)
	switch {
	case p.at == inControl:
		if c < '@' {
			return 1, taken, nil
		}
	case p.n == 2 && c == '[':
		p.at = inControl
		return 1, taken, nil
	case p.n == 2 && beginsString(c):
		p.at = inString
		return 1, taken, nil
	case c < '0':
		return 1, taken, nil
	}
	p.at = inText
	if p.long {
		return 1, cancelled, nil
	}
	return 1, complete, p.held[:p.n]
}

func (p *parser) nextOfString(b []byte) (n int, what event, seq []byte) {
	if p.long {
		for n < len(b) && !p.leavesString(b[n]) {
			n++
		}
		if n > 0 {
			return n, rest, nil
		}
	}
	for i, c := range b {
		switch {
		case c >= ' ' && c != del:
			if p.n == maxHeld {
				p.long = true
				return i, tooLong, nil
			}
			p.hold(c)
		case !p.leavesString(c):
		case c == esc:
			p.at = inStringEnd
			return i + 1, taken, nil
		case c == bel:
			return p.endString(i+1, bel)
		default:
			p.at = inText
			return i + 1, cancelled, nil
		}
	}
	return len(b), taken, nil
}

func (p *parser) leavesString(c byte) bool {
	return c == esc || c == can || c == sub || c == bel && p.held[1] == ']'
}

func (p *parser) endString(n int, end ...byte) (int, event, []byte) {
	p.at = inText
	what := complete
	if p.long {
		what = ended
	}
	return n, what, append(p.held[:p.n], end...)
}

// begin begins a sequence with an ESC.
func (p *parser) begin() {
	p.at, p.long, p.n = inEscape, false, 0
	p.hold(esc)
}

func (p *parser) hold(c byte) {
	if p.n == maxHeld {
		p.long = true
		return
	}
	p.held[p.n] = c
	p.n++
}

func beginsString(c byte) bool { return c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_' }

// plain gives the length of the sequence at the start of b, if it is complete and short and has no
// control characters in its midst. Else it is zero, and the sequence one to be taken byte by byte:
// with the same result, but slowly.
func plain(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	b = b[:min(len(b), maxHeld)]
	switch {
	case b[1] == '[':
		for i := 2; i < len(b); i++ {
			if c := b[i]; c-'@' < del-'@' {
				return i + 1
			} else if c-' ' >= '@'-' ' {
				return 0
			}
		}
	case b[1] == ']':
		for i := 2; i < len(b); i++ {
			switch c := b[i]; {
			case c == bel:
				return i + 1
			case c == esc && i+1 < len(b) && b[i+1] == '\\':
				return i + 2
			case c < ' ' || c == del:
				return 0
			}
		}
	case !beginsString(b[1]):
		for i := 1; i < len(b); i++ {
			if c := b[i]; c-'0' < del-'0' {
				return i + 1
			} else if c-' ' >= '0'-' ' {
				return 0
			}
		}
	}
	return 0
}
