package agented

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

// ReadFile implements [container.Files].
func (r *Runtime) ReadFile(
	ctx context.Context, sessionID, path string, opts container.ReadFileOptions,
) (*container.FileInfo, io.ReadCloser, error) {
	problem := cmp.Or(container.ValidateFile(path, opts.User, 0), opts.Validate())
	o, err := r.beginFiles(ctx, "readfile", place{sessionID, forFiles}, problem,
		&agentproto.ReadFile{As: as(opts.User, path), Offset: opts.Offset, Length: opts.Length})
	if err != nil {
		return nil, nil, err
	}
	var said agentproto.FileInfo
	if err := o.Receive(&said); err != nil {
		defer o.end()
		return nil, nil, o.fail(err)
	}
	info := fileInfo(&said)
	return &info, &content{o: o}, nil
}

// PackFiles implements [container.FileArchiver].
func (r *Runtime) PackFiles(ctx context.Context, sessionID, path, user string) (io.ReadCloser, error) {
	o, err := r.beginFiles(ctx, "packfiles", place{sessionID, forFiles}, container.ValidateFile(path, user, 0),
		&agentproto.Pack{As: as(user, path)})
	if err != nil {
		return nil, err
	}
	// The first bytes, or the error, come before the archive is anybody's.
	c := &content{o: o}
	if err := c.next(); err != nil && !errors.Is(err, io.EOF) {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// content is what an agent sends until KindDone. One goroutine reads it.
type content struct {
	o      *operation
	rest   []byte // valid until the next frame
	err    error  // why there is no more
	once   sync.Once
	closed atomic.Bool
}

// next gives the next bytes; an error is final.
func (c *content) next() error {
	if c.closed.Load() {
		return io.ErrClosedPipe
	}
	for len(c.rest) == 0 && c.err == nil {
		frame, err := c.o.Next()
		switch {
		case err != nil:
			c.err = c.o.fail(cutShort(err))
		case frame.Kind == agentproto.KindData:
			c.rest = frame.Payload
			c.o.r.pace.makeWay()
		default:
			c.err = cmp.Or(c.o.last(frame), io.EOF)
		}
	}
	return c.err
}

// Read implements [io.Reader].
func (c *content) Read(b []byte) (int, error) {
	if err := c.next(); err != nil {
		return 0, err
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// WriteTo implements [io.WriterTo]: without a buffer in between.
func (c *content) WriteTo(w io.Writer) (written int64, err error) {
	for {
		if err := c.next(); errors.Is(err, io.EOF) {
			return written, nil
		} else if err != nil {
			return written, err
		}
		n, err := w.Write(c.rest)
		written += int64(n)
		c.rest = nil
		if err != nil {
			return written, err
		}
	}
}

// Close implements [io.Closer].
func (c *content) Close() error {
	c.once.Do(func() {
		c.closed.Store(true)
		c.o.end()
	})
	return nil
}

// WriteFile implements [container.Files].
func (r *Runtime) WriteFile(
	ctx context.Context, sessionID, path string, from io.Reader, opts container.WriteFileOptions,
) (*container.FileInfo, error) {
	problem := cmp.Or(container.ValidateFile(path, opts.User, opts.Mode), opts.Validate())
	o, err := r.beginFiles(ctx, "writefile", place{sessionID, forFiles}, problem, &agentproto.WriteFile{
		As: as(opts.User, path), Mode: opts.Mode, Owner: opts.Owner, Parents: opts.Parents, Sync: opts.Sync,
		New:     opts.New,
		Version: opts.Version})
	if err != nil {
		return nil, err
	}
	var said agentproto.FileInfo
	if err := o.supply(from, &said); err != nil {
		return nil, err
	}
	info := fileInfo(&said)
	return &info, nil
}

// UnpackFiles implements [container.FileArchiver].
func (r *Runtime) UnpackFiles(
	ctx context.Context, sessionID, dir string, from io.Reader, opts container.UnpackFilesOptions,
) error {
	o, err := r.beginFiles(ctx, "unpackfiles", place{sessionID, forFiles}, container.ValidateFile(dir, opts.User, 0),
		&agentproto.Unpack{As: as(opts.User, dir), Owners: opts.Owners})
	if err != nil {
		return err
	}
	return o.supply(from, &agentproto.Done{})
}

// supply sends what from gives, receives the answer, and ends the operation. The agent may refuse
// at any time; then what is not sent yet is not read, but for a Read that is under way.
func (o *operation) supply(from io.Reader, answer agentproto.Message) error {
	defer o.end()
	answered := make(chan error, 1)
	var waiting sync.WaitGroup
	waiting.Go(func() { answered <- o.Receive(answer) })
	defer waiting.Wait()
	defer o.Reset()
	sent := make(chan error, 1)
	go func() { sent <- o.sendAll(from) }() // not waited for where its Read blocks
	select {
	case err := <-sent:
		if broken, ok := errors.AsType[*readError](err); ok {
			if ctxErr := o.ctx.Err(); ctxErr != nil {
				return failed(o.op, o.sessionID, ctxErr)
			}
			return broken.err
		}
		// What could not be sent, the answer explains.
		if err := <-answered; err != nil {
			return o.fail(err)
		}
		return nil
	case err := <-answered:
		if err != nil {
			return o.fail(err)
		}
		// It is there before it is noticed that all was sent; else the agent can't know it all.
		select {
		case err := <-sent:
			if err == nil {
				return nil
			}
		case <-time.After(answerNotice):
		}
		return o.fail(agentproto.ErrFrame)
	}
}

// stallTime is how long an agent may take nothing of what is sent. A disk can be slow, and a
// container paused; one whose agent does neither read nor end must not hold its caller for ever.
const stallTime = 2 * time.Minute

// answerNotice is how long the sending of the last frame may take to be noticed when its answer is
// there.
const answerNotice = time.Second

// readError is one of the caller's reader.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }

// readFull reads until b is full, or r says why not: what comes in small pieces costs no frame
// each. Unlike io.ReadFull it does not make the end look like a cut, or the other way round.
func readFull(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var more int
		more, err = r.Read(b[n:])
		n += more
	}
	return n, err
}

func (o *operation) sendAll(from io.Reader) error {
	buf := make([]byte, agentproto.MaxData)
	stall := time.AfterFunc(o.r.cfg.stallTime, o.Reset)
	defer stall.Stop()
	for {
		stall.Stop()
		n, err := readFull(from, buf)
		stall.Reset(o.r.cfg.stallTime)
		if n > 0 {
			o.r.pace.makeWay()
			if err := o.SendData(agentproto.KindData, buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return o.SendData(agentproto.KindEnd, nil)
		}
		if err != nil {
			return &readError{err}
		}
	}
}
