package front

import (
	"context"
	"io"
	"net/http"
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
	w.extend()
	w.ResponseWriter.WriteHeader(status)
}

// Write writes a part of the answer.
func (w *ResponseWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.extend()
	return w.ResponseWriter.Write(b)
}

// FlushError is for http.ResponseController.
func (w *ResponseWriter) FlushError() error {
	w.extend()
	return w.control.Flush()
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
