package terminal

import "github.com/octobot-run/octobot/internal/vtmode"

const (
	firstRing = 4 << 10
	// recentSize is how much a viewer gets that has fallen behind what is kept: so little that it
	// is not behind again at once.
	recentSize = 64 << 10
)

// ring keeps the last bytes of a terminal's output, at most limit of them, and which modes a screen
// is in where they begin. Its memory grows with what was written, so that a quiet terminal costs
// little.
type ring struct {
	limit int
	buf   []byte // the byte at position p is buf[p%len(buf)]
	end   int64  // position of the next byte

	oldest mark // where what is kept begins
	recent mark // where the last recentSize bytes begin
}

// mark is a position, and the modes of a screen that has shown all before it.
type mark struct {
	at    int64
	modes vtmode.Tracker
}

func newRing(limit int) ring { return ring{limit: limit} }

func (r *ring) write(b []byte) {
	r.grow(r.end + int64(len(b)))
	for len(b) > 0 {
		step := b[:min(len(b), recentSize)]
		after := r.end + int64(len(step))
		r.move(&r.oldest, after-int64(r.limit))
		r.move(&r.recent, after-int64(min(r.limit, recentSize)))
		b = b[len(step):]
		for len(step) > 0 {
			n := copy(r.buf[r.end%int64(len(r.buf)):], step)
			step = step[n:]
			r.end += int64(n)
		}
	}
}

// move moves a mark on to a position, over bytes that are kept still.
func (r *ring) move(m *mark, to int64) {
	for m.at < to {
		passed := r.at(m.at, to)
		_, _ = m.modes.Write(passed)
		m.at += int64(len(passed))
	}
}

// grow makes room for a stream of that length, as far as the limit allows. While the buffer is
// shorter than its limit, it holds the stream from its start.
func (r *ring) grow(length int64) {
	size := max(len(r.buf), min(firstRing, r.limit))
	for int64(size) < length && size < r.limit {
		size *= 2
	}
	if size = min(size, r.limit); size == len(r.buf) {
		return
	}
	buf := make([]byte, size)
	copy(buf, r.buf[:min(r.end, int64(len(r.buf)))])
	r.buf = buf
}

// at gives the bytes from a position on, up to another, as many of them as lie in one piece.
func (r *ring) at(pos, to int64) []byte {
	i := pos % int64(len(r.buf))
	return r.buf[i:min(int64(len(r.buf)), i+to-pos)]
}

// read copies what is kept from pos on, up to the position to, and returns how much that was. pos
// is between what is kept first and to, which is not beyond the end.
func (r *ring) read(b []byte, pos, to int64) int {
	total := 0
	for len(b) > 0 && pos < to {
		n := copy(b, r.at(pos, to))
		b, pos, total = b[n:], pos+int64(n), total+n
	}
	return total
}
