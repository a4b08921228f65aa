package front

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Farewell bounds the last words of what has ended.
const Farewell = 5 * time.Second

// ResponseWriter is what sites answer to: it bounds how long a client may leave an answer unread,
// and remembers the status.
type ResponseWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration // zero: none
	status  int
	stream  bool
	upload  *uploadBody // of the request; nil: it has none
}

// Unwrap is for http.ResponseController.
func (w *ResponseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Patient lets the client take its time: what writes to it waits. Once ctx has ended, it gets
// no more than a moment. The handler calls done when it has written everything.
func (w *ResponseWriter) Patient(ctx context.Context) (done func()) {
	w.timeout = 0
	_ = w.control.SetWriteDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = w.control.SetWriteDeadline(time.Now().Add(Farewell)) })
	return func() { stop() }
}

func (w *ResponseWriter) extend() {
	if w.timeout > 0 {
		_ = w.control.SetWriteDeadline(time.Now().Add(w.timeout))
	}
}

// Status returns the answer's status: 0 while there is none.
func (w *ResponseWriter) Status() int { return w.status }

// Streaming leaves the answer out of what is measured of how long requests take.
func (w *ResponseWriter) Streaming() { w.stream = true }

// WriteHeader begins the answer.
func (w *ResponseWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.giveUp()
	w.extend()
	w.ResponseWriter.WriteHeader(status)
}

// Write writes a part of the answer.
func (w *ResponseWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.extend()
	return w.ResponseWriter.Write(b)
}

// FlushError is for http.ResponseController.
func (w *ResponseWriter) FlushError() error {
	w.extend()
	return w.control.Flush()
}

// receive has the request's body read as it comes.
func (w *ResponseWriter) receive(body io.ReadCloser) io.ReadCloser {
	w.upload = &uploadBody{ReadCloser: body}
	return w.upload
}

// giveUp lets what is left of an upload be: an answer does not wait for it, nor for somebody who
// still reads it. The client hears of it, and the connection ends then.
func (w *ResponseWriter) giveUp() {
	if w.upload == nil || w.upload.ended.Load() || w.upload.givenUp {
		return
	}
	w.upload.givenUp = true
	w.Header().Set("Connection", "close")
	_ = w.control.SetReadDeadline(time.Unix(1, 0))
	// The server is to wait a moment before it closes the connection, as it does after a body that
	// is too large, and only then: who still sends would miss the answer.
	server := w.ResponseWriter
	for {
		inner, ok := server.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		server = inner.Unwrap()
	}
	_, _ = http.MaxBytesReader(server, io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 1))
}

// uploadBody is a body that is read as it comes. Who sends nothing is waited for, as with the input
// of a command; its stream is counted.
type uploadBody struct {
	io.ReadCloser
	ended   atomic.Bool
	givenUp bool // is the handler's goroutine's
}

func (b *uploadBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
	}
	return n, err
}

// timedBody bounds how long a body may take to arrive. The server takes the deadline back when
// it has.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
	timeout time.Duration
	began   bool
}

func (b *timedBody) Read(p []byte) (int, error) {
	if !b.began {
		b.began = true
		_ = b.control.SetReadDeadline(time.Now().Add(b.timeout))
	}
	return b.ReadCloser.Read(p)
}
