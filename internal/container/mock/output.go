package mock

import (
	"cmp"
	"io"
	"slices"
)

// output is the last of what a process has written: of both streams together, in the order in which
// it came.
type output struct {
	most int64 // bytes that are kept
	data []byte
	end  int64 // position of the byte after data
	runs []run // whose the bytes of data are
}

// run is output of one stream, up to where that of another begins.
type run struct {
	to     int64 // position of the byte after it
	stream int
}

func (o *output) start() int64 { return o.end - int64(len(o.data)) }

func (o *output) write(stream int, b []byte) {
	o.end += int64(len(b))
	b = b[max(0, int64(len(b))-o.most):]
	o.data = append(o.data[max(0, int64(len(o.data)+len(b))-o.most):], b...)
	if n := len(o.runs); n > 0 && o.runs[n-1].stream == stream {
		o.runs[n-1].to = o.end
	} else {
		o.runs = append(o.runs, run{o.end, stream})
	}
	for o.runs[0].to <= o.start() {
		o.runs = o.runs[1:]
	}
}

// between gives what lies between two positions that are kept, as far as it is of one stream.
func (o *output) between(from, to int64) (stream int, data []byte) {
	i, _ := slices.BinarySearchFunc(o.runs, from+1, func(r run, at int64) int { return cmp.Compare(r.to, at) })
	to = min(to, o.runs[i].to)
	return o.runs[i].stream, o.data[from-o.start() : to-o.start()]
}

// processWriter is one of a process's streams.
type processWriter struct {
	p      *process
	stream int
}

var _ io.Writer = processWriter{}

// Write never waits. After the command's end, a child of it that goes on writes into the void.
func (w processWriter) Write(b []byte) (int, error) {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(b) > 0 && p.ended.IsZero() {
		p.out.write(w.stream, b)
		p.notify()
	}
	return len(b), nil
}
