package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
)

const eventStream = "text/event-stream"

func wantsEvents(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), eventStream) }

// eventWriter writes server-sent events and signs of life between them. The answer begins with
// the first: until then, an error can still be answered as a problem with its own status.
type eventWriter struct {
	w    *front.ResponseWriter
	stop chan struct{}
	wg   sync.WaitGroup

	mu    sync.Mutex // held while writing, so by nobody but this stream's own goroutines
	began bool
	quiet bool // nothing was written since the last sign of life
	buf   bytes.Buffer
}

// newEventWriter starts a stream; its owner calls close, which waits.
func newEventWriter(w *front.ResponseWriter, keepalive time.Duration) *eventWriter {
	e := &eventWriter{w: w, stop: make(chan struct{})}
	e.wg.Go(func() {
		ticker := time.NewTicker(keepalive)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				e.alive()
			case <-e.stop:
				return
			}
		}
	})
	return e
}

// stopKeepalive ends the signs of life. Where a patient client does not read, it waits for it or
// for its connection's end.
func (e *eventWriter) stopKeepalive() {
	close(e.stop)
	e.wg.Wait()
}

// alive writes a comment, which clients pass over, if nothing else was written lately.
func (e *eventWriter) alive() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.quiet || !e.began {
		_ = e.write([]byte(": alive\n\n"))
	}
	e.quiet = true
}

// open begins the answer.
func (e *eventWriter) open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.write(nil)
}

func (e *eventWriter) opened() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.began
}

// send writes an event, and returns when it has left.
func (e *eventWriter) send(name string, data any) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.quiet = false
	e.buf.Reset()
	e.buf.WriteString("event: " + name + "\ndata: ")
	if err := json.NewEncoder(&e.buf).Encode(data); err != nil { // ends in a newline, and holds no other
		return err
	}
	e.buf.WriteByte('\n')
	return e.write(e.buf.Bytes())
}

// write is called with mu held.
func (e *eventWriter) write(b []byte) error {
	if !e.began {
		e.began = true
		e.w.Streaming()
		e.w.Header().Set("Content-Type", eventStream)
		e.w.WriteHeader(http.StatusOK)
	}
	if _, err := e.w.Write(b); err != nil {
		return err
	}
	return e.w.FlushError()
}

// fail ends the stream with an error event.
func (e *eventWriter) fail(p *problem.Problem) { _ = e.send(v1.EventError, p.Problem) }

// outputEvents is an io.Writer whose writes become events.
type outputEvents struct {
	events *eventWriter
	name   string
}

func (o outputEvents) Write(b []byte) (int, error) {
	if err := o.events.send(o.name, v1.Output{Data: b}); err != nil {
		return 0, err
	}
	return len(b), nil
}
