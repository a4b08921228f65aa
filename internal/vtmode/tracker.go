package vtmode

import "bytes"

// Tracker follows the output for a terminal. The zero value is a fresh terminal. A copy is a
// tracker of its own.
type Tracker struct {
	parser parser
	state  state
	placed bool // the cursor was put in a place of the main screen
	lines  int  // that have followed since
}

// Write follows b, which may begin and end anywhere in the output. It never fails.
func (t *Tracker) Write(b []byte) (int, error) {
	written := len(b)
	for len(b) > 0 {
		n, what, seq := t.parser.next(b)
		switch what {
		case text:
			t.state.shift(b[:n])
			if t.placed {
				t.lines += bytes.Count(b[:n], []byte("\n"))
			}
		case complete, ended:
			t.state.sequence(seq)
			if t.state.alternate == 0 && placesCursor(seq) {
				t.placed, t.lines = true, 0
			}
		}
		b = b[n:]
	}
	return written, nil
}

// Alternate tells whether the terminal shows its alternate screen.
func (t *Tracker) Alternate() bool { return t.state.alternate != 0 }

// Drawn tells whether a screen of so many rows may be one that a program has drawn, and would not
// draw again where something else was written there: the alternate screen, or the main one if that
// has not scrolled since the cursor was put in a place. Only what Write was given counts.
func (t *Tracker) Drawn(rows int) bool { return t.Alternate() || t.placed && t.lines < rows }

// placesCursor tells of a sequence that it moves the cursor to a line by its number: CUP, HVP, VPA.
func placesCursor(seq []byte) bool {
	switch seq[len(seq)-1] {
	case 'H', 'f', 'd':
		return seq[1] == '['
	}
	return false
}

// Title gives the title of the terminal's window: UTF-8 of at most 1 KiB, without control
// characters. It is empty if none was set.
func (t *Tracker) Title() string { return t.state.title }

// AppendSet appends the sequences that put a fresh terminal into the state. They do not make it
// wait for the end of a synchronized update, nor do they begin the sequence that may be unfinished.
func (t *Tracker) AppendSet(b []byte) []byte { return t.state.appendSet(b, nil) }

// AppendReset appends the sequences that put a terminal in the state back into the one that a shell
// expects, and cancels a sequence that is unfinished. Where nothing differs it appends nothing. The
// cursor stays in its place, or goes back to that which it had before the alternate screen.
func (t *Tracker) AppendReset(b []byte) []byte {
	if t.parser.at != inText {
		b = append(b, can)
	}
	return t.state.appendReset(b)
}

// state is what is known of a terminal. All that is bounded by its type, and by maxTitle.
type state struct {
	modes     modes
	alternate mode // the one that the alternate screen was entered with, or zero
	keypad    bool // sends application codes
	cursor    uint8
	// top and bottom are the lines that scroll, both zero for all. A bottom of zero is the
	// screen's.
	top, bottom uint16
	otherKeys   uint16      // modifyOtherKeys
	keyboards   [2]keyboard // of the main screen and the alternate one
	pen         pen
	saved       [2]pen // with the cursor, on each screen
	link        bool   // text to come is a hyperlink
	title       string
	titles      titles
}

// screen is the index of what there is for each of the two screens.
func (s *state) screen() int {
	if s.alternate != 0 {
		return 1
	}
	return 0
}

// shift follows the control characters in text.
func (s *state) shift(b []byte) {
	out, in := bytes.IndexByte(b, so), bytes.IndexByte(b, si)
	switch {
	case out < 0 && in < 0:
	case in < 0:
		s.pen.locked = 1
	case out < 0:
		s.pen.locked = 0
	default:
		s.pen.locked = 0
		if bytes.LastIndexByte(b, so) > bytes.LastIndexByte(b, si) {
			s.pen.locked = 1
		}
	}
}

func (s *state) sequence(seq []byte) {
	switch {
	case seq[1] == '[':
		var c control
		if c.parse(seq) {
			s.control(&c)
		}
	case seq[1] == ']':
		s.command(stringBody(seq))
	case !beginsString(seq[1]):
		s.escape(seq[1:])
	}
}

// escape carries out an ESC sequence, seq being what follows the ESC.
func (s *state) escape(seq []byte) {
	switch seq[0] {
	case '(', ')':
		s.pen.designate(seq)
	case '=', '>':
		s.keypad = seq[0] == '='
	case '7':
		s.saved[s.screen()] = s.pen
	case '8':
		s.pen = s.saved[s.screen()]
	case 'n', 'o':
		s.pen.locked = 2 + seq[0] - 'n'
	case 'c':
		*s = state{title: s.title, titles: s.titles}
	}
}

// command carries out an OSC.
func (s *state) command(body []byte) {
	n, separator, value := number(body)
	if separator != ';' || len(body) > 0 && body[0] == ';' {
		return
	}
	switch n {
	case 0, 2:
		s.setTitle(value)
	case 8:
		i := bytes.IndexByte(value, ';')
		s.link = i >= 0 && i+1 < len(value)
	}
}

func (s *state) control(c *control) {
	switch c.inter {
	case 0:
		s.plainControl(c)
	case ' ':
		if c.final == 'q' && c.private == 0 {
			n, _ := first(c.params)
			s.cursor = uint8(min(n, 0xff))
		}
	case '!':
		if c.final == 'p' && c.private == 0 {
			s.softReset()
		}
	}
}

// plainControl carries out a CSI sequence that has no intermediate byte.
func (s *state) plainControl(c *control) {
	switch c.final {
	case 'm':
		switch c.private {
		case 0:
			s.pen.style.sgr(c.params)
		case '>':
			if n, value := two(c.params); n == 4 || len(c.params) == 0 {
				s.otherKeys = uint16(value)
			}
		}
	case 'n':
		if n, _ := first(c.params); n == 4 && c.private == '>' {
			s.otherKeys = 0
		}
	case 'h', 'l':
		if c.private == 0 || c.private == '?' {
			s.setModes(c)
		}
	case 'r':
		if c.private == 0 {
			s.setRegion(two(c.params))
		}
	case 's':
		if c.private == 0 && len(c.params) == 0 {
			s.saved[s.screen()] = s.pen
		}
	case 'u':
		if c.private == 0 {
			s.pen = s.saved[s.screen()]
			return
		}
		s.keyboards[s.screen()].control(c)
	case 't':
		if n, which := two(c.params); c.private == 0 && which != 1 {
			s.titleStack(n)
		}
	}
}

func (s *state) setRegion(top, bottom int) {
	top = max(top, 1)
	switch {
	case top == 1 && bottom == 0:
		s.top, s.bottom = 0, 0
	case bottom == 0 || top < bottom:
		s.top, s.bottom = uint16(top), uint16(bottom)
	}
}

// softReset is DECSTR.
func (s *state) softReset() {
	for _, m := range [...]mode{1, 6, 45, insertMode, keyboardLocked} {
		s.modes.set(m, false)
	}
	s.modes.set(autowrap, true)
	s.modes.set(cursorShown, true)
	s.keypad = false
	s.top, s.bottom = 0, 0
	s.pen, s.saved[s.screen()] = pen{}, pen{}
}

func (s *state) setModes(c *control) {
	on := c.final == 'h'
	for list := c.params; list != nil; {
		var n int
		n, list = first(list)
		switch {
		case n == 0 || n == maxNumber:
		case c.private == 0:
			s.modes.set(ansi|mode(n), on)
		default:
			s.setPrivate(mode(n), on)
		}
	}
}

func (s *state) setPrivate(m mode, on bool) {
	switch m {
	case 2: // VT52: all that follows is in another language
	case 47, 1047, alternateAndCursor:
		s.setAlternate(m, on)
	case 1048:
		if on {
			s.saved[s.screen()] = s.pen
		} else {
			s.pen = s.saved[s.screen()]
		}
	case 66:
		s.keypad = on
	default:
		s.modes.set(m, on)
		if !on && isMouse(m) {
			// To xterm they are one mode with many values.
			for _, other := range mouseModes {
				s.modes.set(other, false)
			}
		}
	}
}

func (s *state) setAlternate(m mode, on bool) {
	switch {
	case on && s.alternate == 0:
		s.alternate = m
		if m == alternateAndCursor {
			s.saved[0] = s.pen
		}
	case !on:
		s.alternate = 0
		// What was left there is nobody's any more.
		s.keyboards[1], s.saved[1] = keyboard{}, pen{}
		if m == alternateAndCursor {
			s.pen = s.saved[0]
		}
	}
}
