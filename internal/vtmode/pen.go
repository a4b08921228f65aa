package vtmode

import "strconv"

// pen is what text to come is written with. The zero value is a fresh terminal's, as are those of
// its parts.
type pen struct {
	style style
	sets  [2]charset // G0 and G1
	// locked is which of the terminal's four sets is in use. What the other two are is not known:
	// nobody uses them.
	locked uint8
}

// charset is what designates a character set; zero is ASCII.
type charset [2]byte

// style is what SGR sets.
type style struct {
	on                     attribute
	underline              uint8 // as in the second number of 4:n
	foreground, background colour
	line                   colour // of the underline
}

// attribute is a set of attributes, the one that SGR n sets being 1<<n.
type attribute uint16

const (
	bold, faint  attribute = 1 << 1, 1 << 2
	italic       attribute = 1 << 3
	blink, quick attribute = 1 << 5, 1 << 6
	overline     attribute = 1 << 10 // SGR 53
	lastSimple             = 9
)

// colour is the terminal's own, one of its palette or, with rgb, one of 24 bits.
type colour uint32

const (
	indexed colour = 1 << 24
	rgb     colour = 2 << 24
)

// sgr carries out the parameters of an SGR.
func (s *style) sgr(list []byte) {
	for more := true; more; {
		var n int
		var separator byte
		n, separator, list = number(list)
		if separator == ':' {
			var subs [6]int
			count := 0
			for separator == ':' {
				var m int
				m, separator, list = number(list)
				if count < len(subs) {
					subs[count] = m
					count++
				}
			}
			s.extended(n, subs[:count])
			more = separator != 0
			continue
		}
		more = separator != 0
		if n != 38 && n != 48 && n != 58 {
			s.simple(n)
			continue
		}
		// The old way: what belongs to the colour are parameters of their own.
		kind, remains := first(list)
		subs, count := [4]int{kind}, 0
		switch kind {
		case 2:
			count = 3
		case 5:
			count = 1
		}
		for i := range count {
			subs[1+i], remains = first(remains)
		}
		s.extended(n, subs[:1+count])
		list, more = remains, remains != nil
	}
}

func (s *style) simple(n int) {
	switch {
	case n == 0:
		*s = style{}
	case n == 4:
		s.underline = 1
	case n <= lastSimple:
		s.on |= 1 << n
	case n == 21:
		s.underline = 2
	case n == 22:
		s.on &^= bold | faint
	case n == 23:
		s.on &^= italic
	case n == 24:
		s.underline = 0
	case n == 25:
		s.on &^= blink | quick
	case n >= 27 && n <= 29:
		s.on &^= 1 << (n - 20)
	case n >= 30 && n <= 37:
		s.foreground = indexed | colour(n-30)
	case n == 39:
		s.foreground = 0
	case n >= 40 && n <= 47:
		s.background = indexed | colour(n-40)
	case n == 49:
		s.background = 0
	case n == 53:
		s.on |= overline
	case n == 55:
		s.on &^= overline
	case n == 59:
		s.line = 0
	case n >= 90 && n <= 97:
		s.foreground = indexed | colour(n-90+8)
	case n >= 100 && n <= 107:
		s.background = indexed | colour(n-100+8)
	}
}

// extended carries out a parameter that has some of its own.
func (s *style) extended(n int, subs []int) {
	if n == 4 {
		if subs[0] <= 5 {
			s.underline = uint8(subs[0])
		}
		return
	}
	var c colour
	switch {
	case subs[0] == 5 && len(subs) >= 2:
		c = indexed | colour(subs[1]&0xff)
	case subs[0] == 2 && len(subs) >= 4:
		v := subs[1:4]
		if len(subs) > 4 {
			v = subs[2:5] // behind the number of a colour space
		}
		c = rgb | colour(v[0]&0xff)<<16 | colour(v[1]&0xff)<<8 | colour(v[2]&0xff)
	default:
		return
	}
	switch n {
	case 38:
		s.foreground = c
	case 48:
		s.background = c
	case 58:
		s.line = c
	}
}

// appendStyle appends the SGR that makes from to.
func appendStyle(b []byte, from, to style) []byte {
	switch {
	case from == to:
		return b
	case to == style{}:
		return append(b, "\x1b[m"...)
	}
	b = append(b, "\x1b["...)
	if (from != style{}) {
		b = append(b, "0;"...)
	}
	for n := 1; n <= lastSimple; n++ {
		if to.on&(1<<n) != 0 {
			b = append(b, '0'+byte(n), ';')
		}
	}
	switch {
	case to.underline == 1:
		b = append(b, "4;"...)
	case to.underline > 1:
		b = append(b, '4', ':', '0'+to.underline, ';')
	}
	if to.on&overline != 0 {
		b = append(b, "53;"...)
	}
	b = appendColour(b, to.foreground, 30)
	b = appendColour(b, to.background, 40)
	if c := to.line; c != 0 {
		// With colons, for a terminal that has no such colour must not take it for attributes.
		b = append(b, "58:5:"...)
		if c&rgb != 0 {
			b = append(b[:len(b)-2], "2::"...)
		}
		b = appendColourValue(b, c, ':')
	}
	b[len(b)-1] = 'm'
	return b
}

// appendColour appends a colour and a semicolon, base being 30 or 40.
func appendColour(b []byte, c colour, base int64) []byte {
	v := int64(c & 0xff)
	switch {
	case c == 0:
		return b
	case c&rgb != 0:
		b = append(strconv.AppendInt(b, base+8, 10), ";2;"...)
	case v < 8:
		return append(strconv.AppendInt(b, base+v, 10), ';')
	case v < 16:
		return append(strconv.AppendInt(b, base+60+v-8, 10), ';')
	default:
		b = append(strconv.AppendInt(b, base+8, 10), ";5;"...)
	}
	return appendColourValue(b, c, ';')
}

func appendColourValue(b []byte, c colour, separator byte) []byte {
	if c&rgb != 0 {
		b = append(strconv.AppendInt(b, int64(c>>16&0xff), 10), separator)
		b = append(strconv.AppendInt(b, int64(c>>8&0xff), 10), separator)
	}
	return append(strconv.AppendInt(b, int64(c&0xff), 10), ';')
}

// designate carries out an ESC sequence that designates a character set.
func (p *pen) designate(seq []byte) {
	g := seq[0] - '('
	var set charset
	if len(seq) > 1+len(set) {
		return
	}
	if copy(set[:], seq[1:]); set == (charset{'B'}) {
		set = charset{}
	}
	p.sets[g] = set
}

// appendPen appends what makes from to.
func appendPen(b []byte, from, to pen) []byte {
	for g, set := range to.sets {
		if set == from.sets[g] {
			continue
		}
		b = append(b, esc, '('+byte(g))
		switch {
		case set == charset{}:
			b = append(b, 'B')
		case set[1] == 0:
			b = append(b, set[0])
		default:
			b = append(b, set[:]...)
		}
	}
	if to.locked != from.locked {
		b = append(b, [...]string{"\x0f", "\x0e", "\x1bn", "\x1bo"}[to.locked]...)
	}
	return appendStyle(b, from.style, to.style)
}
