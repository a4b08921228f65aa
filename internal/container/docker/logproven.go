package docker

import (
	"errors"
	"io"
	"time"

	"github.com/octobot-run/octobot/internal/container/provider"
)

const (
	// provenPace is the least time between two looks whether the main process runs.
	provenPace = 50 * time.Millisecond
	// What waits to be proven is at most so many chunks of that size.
	maxChunks = 256
	chunkSize = 4 << 10
)

// errLogOver ends a pass that follows a log: what comes now is not to be relied on.
var errLogOver = errors.New("the log is not followed any longer")

// provenLog is a log of Podman's that is followed. A moment after the main process has ended,
// Podman 4.3 stops to follow, and from then on drops lines at random (its tail library sends a line
// or sees that it is to end, whichever it is). So what has come is passed on when the process is
// seen to run after it came.
type provenLog struct {
	r      *logReader
	chunks chan []byte
	err    error // why there are no more chunks
	stop   chan struct{}

	left   []byte // proven, and not read yet
	looked time.Time
}

func (r *logReader) proven() *provenLog {
	return &provenLog{r: r, chunks: make(chan []byte, maxChunks), stop: make(chan struct{})}
}

// fetch takes what comes from the log, until that ends or stop is closed.
func (p *provenLog) fetch(log io.Reader) {
	defer close(p.chunks)
	for {
		b := make([]byte, chunkSize)
		n, err := log.Read(b)
		select {
		case p.chunks <- b[:n]:
		case <-p.stop:
			return
		}
		if err != nil {
			p.err = err
			return
		}
	}
}

// Read implements [io.Reader].
func (p *provenLog) Read(b []byte) (int, error) {
	for len(p.left) == 0 {
		came, ok := <-p.chunks
		if !ok {
			return 0, p.err
		}
		if err := provider.Sleep(p.r.Ctx, "more of the log", provenPace-time.Since(p.looked)); err != nil {
			return 0, err
		}
		for more := true; more; {
			select {
			case chunk := <-p.chunks: // nil where there are no more
				came = append(came, chunk...)
				more = chunk != nil && len(came) < maxChunks*chunkSize
			default:
				more = false
			}
		}
		p.looked = time.Now()
		if runs, err := p.r.stillRuns(); err != nil || !runs {
			return 0, errors.Join(errLogOver, err)
		}
		p.left = came
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}
