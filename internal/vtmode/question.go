package vtmode

import "bytes"

// leftOut tells of a sequence other than CSI, or of the start of a long string with an end, that it
// is not for showing again.
func leftOut(seq []byte) bool {
	switch seq[1] {
	case ']':
		return leftOutCommand(stringBody(seq))
	case 'P':
		return leftOutDevice(stringBody(seq))
	case 'X', '^', '_':
		return true // kitty's graphics, which answer; nothing else is shown of them
	case 'Z':
		return true // DECID
	}
	return false
}

// asks tells of a CSI sequence that the terminal answers it, or does something elsewhere.
func (c *control) asks() bool {
	switch c.inter {
	case 0:
		switch c.final {
		case 'c': // DA1, DA2, DA3; with ? it is the shape of Linux's cursor
			return c.private != '?'
		case 'n': // DSR; with > it switches off a modifier
			return c.private != '>'
		case 't': // XTWINOPS: all but the titles put aside
			n, _ := first(c.params)
			return c.private == 0 && n != 22 && n != 23
		case 'u', 'm', 'S': // kitty's keyboard, XTQMODKEYS, XTSMGRAPHICS
			return c.private == '?'
		case 'q': // XTVERSION
			return c.private == '>'
		case 'x', 'i': // DECREQTPARM; print
			return true
		}
	case ' ':
		return c.final == 'q' && c.private == '>' // kitty's many cursors
	case '"':
		return c.final == 'v' // DECRQDE
	case '#':
		return c.final == 'R' || c.final == '|' // XTREPORTCOLORS, XTREPORTSGR
	case '$':
		return c.final == 'p' || c.final == 'u' || c.final == 'w' // DECRQM, DECRQTSR, DECRQPSR
	case '&':
		return c.final == 'u' // DECRQUPSS
	case '\'':
		return c.final == '|' // DECRQLP
	case '*':
		return c.final == 'y' // DECRQCRA
	case '+':
		return c.final == 'x' // DECRQPKFM
	}
	return false
}

// leftOutCommand is leftOut of an OSC.
func leftOutCommand(body []byte) bool {
	n, _, value := number(body)
	switch n {
	case 0, 1, 2, 7, 8, 133, 633: // text, which may hold what would be a question elsewhere
		return false
	case 9, 99, 777, 1337: // notifications; whatever iTerm2 can do
		return true
	case 51, 52, 5113, 5522: // calls into Emacs and Vim, the clipboard, files, the clipboard
		return true
	case 60, 61: // XTQALLOWED, XTQDISALLOWED
		return true
	}
	if len(body) >= maxHeld-2 {
		return true // for a question may follow, and long ones with an effect are above
	}
	return bytes.HasPrefix(value, []byte("?")) || bytes.Contains(value, []byte(";?")) ||
		bytes.Contains(value, []byte("=?"))
}

// leftOutDevice is leftOut of a DCS.
func leftOutDevice(body []byte) bool {
	i := 0
	for i < len(body) && body[i] >= '0' && body[i] <= '?' {
		i++
	}
	header := body[i:]
	switch {
	case len(header) == 0: // has no end, and so no effect
		return true
	case header[0] == '@': // kitty's remote control
		return true
	case len(header) < 2:
		return false
	}
	switch string(header[:2]) {
	case "$q", "+q", "+Q": // DECRQSS, XTGETTCAP, XTGETXRES
		return true
	}
	return false
}
