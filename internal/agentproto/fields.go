package agentproto

import (
	"encoding/binary"
	"errors"
	"math"
)

// maxItems bounds a list: a short payload must not become a large one in memory.
const maxItems = 1 << 16

var (
	errShort = errors.New("a field ends too early")
	errRange = errors.New("a number out of its range")
	errMany  = errors.New("too many items")
)

// fields writes a message's fields to buf or, decoding, reads them from it. So each message
// names its fields once, for both directions. What is written is left as it is: others may be
// writing it too.
type fields struct {
	buf      []byte
	decoding bool
	err      error // the first; decoding only
}

// absent tells that there is nothing (more) to decode: the field keeps its zero value.
func (f *fields) absent() bool { return f.err != nil || len(f.buf) == 0 }

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// number is a field of any integer type; those of its values that the type can't hold are refused.
func number[T ~int | ~int64 | ~int32 | ~uint8 | ~uint16 | ~uint32](f *fields, p *T) {
	if !f.decoding {
		f.buf = binary.AppendVarint(f.buf, int64(*p))
		return
	}
	if f.absent() {
		return
	}
	v, n := binary.Varint(f.buf)
	if n <= 0 {
		f.fail(errShort)
		return
	}
	f.buf = f.buf[n:]
	if *p = T(v); int64(*p) != v {
		f.fail(errRange)
	}
}

func boolean(f *fields, p *bool) {
	v := uint8(0)
	if *p {
		v = 1
	}
	number(f, &v)
	if f.decoding {
		*p = v != 0
	}
}

func (f *fields) bytes(p *[]byte) {
	if !f.decoding {
		f.buf = append(binary.AppendUvarint(f.buf, uint64(len(*p))), *p...)
		return
	}
	*p = append([]byte(nil), f.take()...)
}

func (f *fields) text(p *string) {
	if !f.decoding {
		f.buf = append(binary.AppendUvarint(f.buf, uint64(len(*p))), *p...)
		return
	}
	*p = string(f.take())
}

// take reads what a length stands before.
func (f *fields) take() []byte {
	if f.absent() {
		return nil
	}
	size, n := binary.Uvarint(f.buf)
	if n <= 0 || size > math.MaxInt32 || int(size) > len(f.buf)-n {
		f.fail(errShort)
		return nil
	}
	taken := f.buf[n : n+int(size)]
	f.buf = f.buf[n+int(size):]
	return taken
}

func (f *fields) texts(p *[]string) {
	list(f, p, (*fields).rest)
}

// rest is all of an item that is nothing but text.
func (f *fields) rest(p *string) {
	if !f.decoding {
		f.buf = append(f.buf, *p...)
		return
	}
	*p = string(f.buf)
	f.buf = nil
}

// nested is a field that has fields of its own, and may grow more of them.
func nested[T any](f *fields, p *T, item func(*T, *fields)) {
	sub := &fields{decoding: f.decoding}
	if f.decoding {
		sub.buf = f.take()
	}
	item(p, sub)
	if f.decoding {
		if sub.err != nil {
			f.fail(sub.err)
		}
		return
	}
	f.buf = append(binary.AppendUvarint(f.buf, uint64(len(sub.buf))), sub.buf...)
}

// list is a field of several items, each with its length, so that items may grow fields too.
func list[T any](f *fields, p *[]T, item func(*fields, *T)) {
	if !f.decoding {
		f.buf = binary.AppendUvarint(f.buf, uint64(len(*p)))
		for i := range *p {
			sub := &fields{}
			item(sub, &(*p)[i])
			f.buf = append(binary.AppendUvarint(f.buf, uint64(len(sub.buf))), sub.buf...)
		}
		return
	}
	if f.absent() {
		return
	}
	count, n := binary.Uvarint(f.buf)
	if n <= 0 {
		f.fail(errShort)
		return
	}
	f.buf = f.buf[n:]
	// Each item takes a byte at least.
	if count > maxItems || int(count) > len(f.buf) {
		f.fail(errMany)
		return
	}
	for range count {
		if len(f.buf) == 0 {
			f.fail(errShort)
			return
		}
		sub := &fields{buf: f.take(), decoding: true}
		var v T
		item(sub, &v)
		if sub.err != nil {
			f.fail(sub.err)
		}
		if f.err != nil {
			return
		}
		*p = append(*p, v)
	}
}
