package vtmode

import (
	"slices"
	"strconv"
)

// appendSet appends what puts a fresh terminal into the state, but for the modes that are left out.
func (s *state) appendSet(b []byte, leaveOut func(mode) bool) []byte {
	before := pen{}
	if s.alternate != 0 {
		b = s.keyboards[0].appendSet(b)
		if s.alternate == alternateAndCursor {
			b = appendPen(b, before, s.saved[0])
			before = s.saved[0]
		}
		b = s.alternate.append(b, false)
	}
	b = s.keyboards[s.screen()].appendSet(b)
	for _, m := range s.modes.all() {
		if m != synchronized && (leaveOut == nil || !leaveOut(m)) {
			b = m.append(b, false)
		}
	}
	if s.otherKeys != 0 {
		b = appendControl(b, ">4;", int(s.otherKeys), "m")
	}
	if s.keypad {
		b = append(b, "\x1b="...)
	}
	if s.cursor != 0 {
		b = appendControl(b, "", int(s.cursor), " q")
	}
	if s.top != 0 {
		b = appendRegion(b, s.top, s.bottom)
	}
	b = appendPen(b, before, s.pen)
	title := ""
	for _, aside := range s.titles.list[:s.titles.n] {
		if aside != title {
			b = appendTitle(b, aside)
			title = aside
		}
		b = append(b, "\x1b[22;2t"...)
	}
	if s.title != title {
		b = appendTitle(b, s.title)
	}
	return b
}

func appendRegion(b []byte, top, bottom uint16) []byte {
	b = strconv.AppendUint(append(b, "\x1b["...), uint64(top), 10)
	if bottom != 0 {
		b = strconv.AppendUint(append(b, ';'), uint64(bottom), 10)
	}
	return append(b, 'r')
}

func (s *state) appendReset(b []byte) []byte {
	if s.top != 0 {
		// Without a region the cursor goes home. From the alternate screen it goes elsewhere
		// anyway.
		if s.alternate == alternateAndCursor {
			b = append(b, "\x1b[r"...)
		} else {
			b = append(b, "\x1b7\x1b[r\x1b8"...)
		}
	}
	if s.link {
		b = append(append(b, "\x1b]8;;"...), stringEnd...)
	}
	b = appendPen(b, s.pen, pen{})
	for _, m := range slices.Backward(s.modes.all()) {
		b = m.append(b, true)
	}
	if s.otherKeys != 0 {
		b = append(b, "\x1b[>4m"...)
	}
	if s.keypad {
		b = append(b, "\x1b>"...)
	}
	if s.cursor != 0 {
		b = append(b, "\x1b[0 q"...)
	}
	b = s.keyboards[s.screen()].appendReset(b)
	if s.alternate != 0 {
		b = s.alternate.append(b, true)
		if s.alternate == alternateAndCursor {
			b = appendPen(b, s.saved[0], pen{})
		}
		b = s.keyboards[0].appendReset(b)
	}
	title := s.title
	for i := s.titles.n - 1; i >= 0; i-- {
		b = append(b, "\x1b[23;2t"...)
		title = s.titles.list[i]
	}
	if title != "" {
		b = appendTitle(b, "")
	}
	return b
}
