package vtmode

import "strconv"

// control is a CSI sequence.
type control struct {
	private byte // one of <=>?, or zero
	params  []byte
	inter   byte // the intermediate one, or zero
	final   byte
}

// parse fails with what is none to any terminal.
func (c *control) parse(seq []byte) bool {
	end := len(seq) - 1
	c.final = seq[end]
	params := seq[2:end]
	if len(params) > 0 && params[0] >= '<' && params[0] <= '?' {
		c.private = params[0]
		params = params[1:]
	}
	if n := len(params); n > 0 && params[n-1] < '0' {
		c.inter = params[n-1]
		params = params[:n-1]
	}
	for _, p := range params {
		if p < '0' || p > ';' {
			return false
		}
	}
	c.params = params
	return true
}

// maxNumber is more than any number that means something.
const maxNumber = 1<<16 - 1

// number takes the number at the start of a list, which is zero where none is. The separator behind
// it is zero at the list's end.
func number(list []byte) (n int, separator byte, remains []byte) {
	for i, c := range list {
		if c < '0' || c > '9' {
			return n, c, list[i+1:]
		}
		n = min(10*n+int(c-'0'), maxNumber)
	}
	return n, 0, nil
}

// first gives a list's first number and what follows it.
func first(list []byte) (n int, remains []byte) {
	n, _, remains = number(list)
	return n, remains
}

// two gives a list's first two numbers.
func two(list []byte) (n, m int) {
	n, list = first(list)
	m, _ = first(list)
	return n, m
}

// stringBody is what a string sequence has between its start and its end, which a truncated one has
// too.
func stringBody(seq []byte) []byte {
	if seq[len(seq)-1] == bel {
		return seq[2 : len(seq)-1]
	}
	return seq[2 : len(seq)-len(stringEnd)]
}

// appendControl appends the CSI sequence with one number.
func appendControl(b []byte, private string, n int, final string) []byte {
	b = append(append(b, "\x1b["...), private...)
	return append(strconv.AppendInt(b, int64(n), 10), final...)
}

func appendTitle(b []byte, title string) []byte {
	return append(append(append(b, "\x1b]2;"...), title...), stringEnd...)
}
