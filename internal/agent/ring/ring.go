// Package ring keeps the last bytes of a stream, by their positions in it.
package ring

import "os"

const firstSize = 4 << 10

// Ring keeps the last bytes of a stream, at most so many as its limit. Its memory grows with what
// was written, so that a quiet stream costs little. It is for one goroutine at a time.
type Ring struct {
	limit int64
	start int64  // position of the first byte that is kept
	end   int64  // position of the next byte
	buf   []byte // the byte at position p is buf[p%len(buf)]
	file  *os.File
}

// New makes a Ring in memory. The limit is positive.
func New(limit int64) *Ring { return &Ring{limit: limit} }

// OnDisk makes a Ring in a file, which is the caller's to close.
func OnDisk(limit int64, file *os.File) *Ring { return &Ring{limit: limit, file: file} }

// Limit is how many bytes are kept at most.
func (r *Ring) Limit() int64 { return r.limit }

// Start is the position of the first byte that is kept.
func (r *Ring) Start() int64 { return r.start }

// End is the position of the next byte that is written.
func (r *Ring) End() int64 { return r.end }

// Write adds to the stream. What a disk does not take is not kept, nor is what was before it.
func (r *Ring) Write(b []byte) {
	if r.file == nil {
		r.grow(r.end + int64(len(b)))
	}
	for len(b) > 0 {
		n := int(min(int64(len(b)), r.size()-r.end%r.size()))
		kept := true
		if r.file != nil {
			_, err := r.file.WriteAt(b[:n], r.end%r.limit)
			kept = err == nil
		} else {
			copy(r.buf[r.end%r.size():], b[:n])
		}
		b = b[n:]
		r.end += int64(n)
		if r.start = max(r.start, r.end-r.limit); !kept {
			r.start = r.end
		}
	}
}

// size is after how many positions a place is used again.
func (r *Ring) size() int64 {
	if r.file != nil {
		return r.limit
	}
	return int64(len(r.buf))
}

// grow makes room for a stream of that length, as far as the limit allows. While the buffer is
// shorter than its limit, it holds the stream from its start.
func (r *Ring) grow(length int64) {
	size := max(r.size(), min(firstSize, r.limit))
	for size < length && size < r.limit {
		size *= 2
	}
	if size = min(size, r.limit); size == r.size() {
		return
	}
	buf := make([]byte, size)
	copy(buf, r.buf[:min(r.end, r.size())])
	r.buf = buf
}

// Piece gives the bytes from a position on, up to another, as many of them as lie in one piece of
// the memory: some, where to is beyond pos. They are valid until the next Write.
func (r *Ring) Piece(pos, to int64) []byte {
	i := pos % r.size()
	return r.buf[i:min(r.size(), i+to-pos)]
}

// Read copies what is kept from pos on, up to the position to, and returns how much that was. pos
// is Start at least, and to is End at most.
func (r *Ring) Read(b []byte, pos, to int64) int {
	total := 0
	for len(b) > 0 && pos < to {
		var n int
		if r.file == nil {
			n = copy(b, r.Piece(pos, to))
		} else if n = r.readFile(b, pos, to); n == 0 {
			break
		}
		b, pos, total = b[n:], pos+int64(n), total+n
	}
	return total
}

func (r *Ring) readFile(b []byte, pos, to int64) int {
	i := pos % r.limit
	most := min(int64(len(b)), to-pos, r.limit-i)
	n, _ := r.file.ReadAt(b[:most], i)
	return n
}
