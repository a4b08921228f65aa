package vtmode

import "unicode/utf8"

// maxTitle bounds a title, in bytes.
const maxTitle = 1 << 10

// titles are those that programs have put aside, to set their own and restore the former one when
// they end: the last few, the latest of them last.
type titles struct {
	n    int
	list [2]string
}

// titleStack carries out CSI 22 t and CSI 23 t.
func (s *state) titleStack(n int) {
	t := &s.titles
	switch {
	case n == 22:
		if t.n == len(t.list) {
			copy(t.list[:], t.list[1:])
			t.n--
		}
		t.list[t.n] = s.title
		t.n++
	case n == 23 && t.n > 0:
		t.n--
		s.title, t.list[t.n] = t.list[t.n], ""
	}
}

func (s *state) setTitle(b []byte) {
	var clean [maxTitle]byte
	n := 0
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		char := b[:size]
		b = b[size:]
		if r < ' ' || r >= del && r < 0xa0 || r == utf8.RuneError && size == 1 {
			continue
		}
		if n+size > maxTitle {
			break
		}
		n += copy(clean[n:], char)
	}
	if string(clean[:n]) != s.title {
		s.title = string(clean[:n])
	}
}
