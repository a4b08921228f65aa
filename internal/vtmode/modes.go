package vtmode

import "slices"

// mode is the number of a mode that CSI h and CSI l switch: a private one, or one with ansi.
type mode uint32

const (
	ansi           mode = 1 << 16
	keyboardLocked      = ansi | 2
	insertMode          = ansi | 4

	autowrap           mode = 7
	cursorShown        mode = 25
	focusReported      mode = 1004
	alternateAndCursor mode = 1049
	synchronized       mode = 2026
	sizeReported       mode = 2048
)

// defaultOn are the modes that a fresh terminal is in.
var defaultOn = [...]mode{
	autowrap, cursorShown,
	8,         // keys repeat
	1034,      // Meta sets the eighth bit
	1035,      // NumLock works
	1036,      // Meta sends ESC
	1046,      // there is an alternate screen
	ansi | 12, // what is typed is not shown
}

// mouseModes are those that say when the mouse is reported.
var mouseModes = [...]mode{9, 1000, 1001, 1002, 1003}

func (m mode) onByDefault() bool { return slices.Contains(defaultOn[:], m) }

func isMouse(m mode) bool { return slices.Contains(mouseModes[:], m) }

// reportsAtOnce tells that a terminal answers when the mode is set.
func reportsAtOnce(m mode) bool { return m == focusReported || m == sizeReported }

// modes are those that differ from a fresh terminal's, the one that was switched last standing
// last: of some, that one counts.
type modes struct {
	n    int
	list [64]mode
}

func (s *modes) all() []mode { return s.list[:s.n] }

// set forgets a mode that there is no room for: no program needs as many.
func (s *modes) set(m mode, on bool) {
	if i := slices.Index(s.all(), m); i >= 0 {
		copy(s.list[i:], s.list[i+1:s.n])
		s.n--
		s.list[s.n] = 0
	}
	if on != m.onByDefault() && s.n < len(s.list) {
		s.list[s.n] = m
		s.n++
	}
}

// append appends the sequence that switches m to what it is by default, or away from it.
func (m mode) append(b []byte, toDefault bool) []byte {
	private, final := "?", "l"
	if m >= ansi {
		private = ""
	}
	if m.onByDefault() == toDefault {
		final = "h"
	}
	return appendControl(b, private, int(m&^ansi), final)
}

// keyboard is the state of kitty's keyboard protocol on one screen. What is on top is in use; the
// lowest is what was set without a push.
type keyboard struct {
	n     int
	flags [8]uint8
}

func (k *keyboard) control(c *control) {
	n, how := two(c.params)
	flags := uint8(n & 0x7f)
	switch c.private {
	case '>':
		k.push(flags)
	case '<':
		k.pop(max(n, 1))
	case '=':
		k.set(flags, how)
	}
}

func (k *keyboard) push(flags uint8) {
	k.n = max(k.n, 1)
	if k.n == len(k.flags) {
		copy(k.flags[:], k.flags[1:])
		k.n--
	}
	k.flags[k.n] = flags
	k.n++
}

func (k *keyboard) pop(n int) {
	for k.n > 0 && n > 0 {
		k.n, n = k.n-1, n-1
		k.flags[k.n] = 0
	}
	k.settle()
}

func (k *keyboard) set(flags uint8, how int) {
	k.n = max(k.n, 1)
	top := &k.flags[k.n-1]
	switch how {
	case 0, 1:
		*top = flags
	case 2:
		*top |= flags
	case 3:
		*top &^= flags
	}
	k.settle()
}

// settle makes one state of the two that are the same to a program.
func (k *keyboard) settle() {
	if k.n == 1 && k.flags[0] == 0 {
		k.n = 0
	}
}

func (k *keyboard) appendSet(b []byte) []byte {
	for i, flags := range k.flags[:k.n] {
		switch {
		case i > 0:
			b = appendControl(b, ">", int(flags), "u")
		case flags != 0:
			b = appendControl(b, "=", int(flags), "u")
		}
	}
	return b
}

func (k *keyboard) appendReset(b []byte) []byte {
	if k.n > 1 {
		b = appendControl(b, "<", k.n-1, "u")
	}
	if k.flags[0] != 0 {
		b = append(b, "\x1b[=0u"...)
	}
	return b
}
