package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/coder/websocket"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// ListTerminals gives the session's terminals that have names, in the order of their making.
func (c *Client) ListTerminals(ctx context.Context, id string) ([]v1.Terminal, error) {
	var list v1.TerminalList
	err := c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "sessions", id, "terminals"}}, &list)
	return list.Terminals, err
}

// CreateTerminal makes a terminal that runs without viewers.
func (c *Client) CreateTerminal(ctx context.Context, id string, req v1.CreateTerminalRequest) (v1.Terminal, error) {
	var t v1.Terminal
	err := c.call(ctx, request{method: http.MethodPost, path: []string{"v1", "sessions", id, "terminals"}, body: req},
		&t)
	return t, err
}

// EndTerminal hangs a terminal up.
func (c *Client) EndTerminal(ctx context.Context, id, name string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"v1", "sessions", id, "terminals", name}}, nil)
}

// TerminalOptions say which terminal to open, and how.
type TerminalOptions struct {
	AttachOptions        // of a terminal that is made, but for Rows and Cols, which are the viewer's size
	Name          string // has a session ID's form
	New           bool   // there must be no running terminal of that name
	// ID is that of the terminal that the viewer comes back to, and Since the position of the first
	// byte that it wants then; see [TerminalEvent].
	ID       string
	Since    int64 // or ShowAgain
	ReadOnly bool  // nothing is typed, and no terminal is made
}

// ShowAgain, for [TerminalOptions].Since, is for who comes back and wants to be shown what is kept
// once more.
const ShowAgain = -1

// OpenTerminal connects a viewer with a terminal that lives on when the viewer leaves; it is made
// where there is none. ctx bounds the connecting alone: the viewer stays until its Close.
func (c *Client) OpenTerminal(ctx context.Context, id string, opts TerminalOptions) (*Viewer, error) {
	q := opts.query()
	q.Set("terminal", opts.Name)
	setString(q, "terminal_id", opts.ID)
	if opts.Since != 0 {
		q.Set("since", strconv.FormatInt(opts.Since, 10))
	}
	for name, set := range map[string]bool{"new": opts.New, "read_only": opts.ReadOnly} {
		if set {
			q.Set(name, "true")
		}
	}
	t, err := c.connect(ctx, id, q)
	if err != nil {
		return nil, err
	}
	v := &Viewer{Terminal: t}
	stop := context.AfterFunc(ctx, func() { _ = t.Close() })
	defer stop()
	for v.opened.ID == "" {
		if err := v.receive(&TerminalEvent{}); err != nil {
			_ = t.Close()
			return nil, err
		}
	}
	if opts.ID != "" && opts.Since >= 0 {
		v.position = opts.Since
	}
	return v, nil
}

// Viewer is a connection with a terminal that has a name. One goroutine may call Next while others
// Write, Resize and Close. Read is not for it.
type Viewer struct {
	*Terminal
	opened   v1.Terminal
	position int64
	numbered bool // bytes count
	buf      []byte
}

// Opened gives the terminal as it was when the viewer came.
func (v *Viewer) Opened() v1.Terminal { return v.opened }

// Whole reports whether all was shown that is before the position: else a viewer that comes back
// has to be shown it once more. It is for who calls Next.
func (v *Viewer) Whole() bool { return v.numbered }

// TerminalEvent is something that a viewer is told.
type TerminalEvent struct {
	Data     []byte // to be shown, valid until the next call; may be empty
	Replayed bool   // Data is what was shown before, or sets the screen's modes: it is not numbered
	Position int64  // of the byte after Data: where a viewer goes on that comes back
	Missed   int64  // so many bytes before can't be had any more
	Viewers  int    // how many look now; 0: that has not changed

	Rows, Cols uint16 // the size that the terminal has now; 0: that has not changed
}

// Next waits for what there is to show. io.EOF: the command has ended, and ExitCode gives how. Any
// other error: the connection has, and a viewer may come back to Position.
func (v *Viewer) Next() (TerminalEvent, error) {
	for {
		var e TerminalEvent
		if err := v.receive(&e); err != nil {
			return TerminalEvent{Position: v.position}, err
		}
		if len(e.Data) > 0 || e.Missed > 0 || e.Viewers > 0 || e.Rows > 0 {
			e.Position = v.position
			return e, nil
		}
	}
}

// receive takes one frame.
func (v *Viewer) receive(e *TerminalEvent) error {
	if v.exited() != nil {
		return io.EOF
	}
	kind, frame, err := v.conn.Reader(v.ctx)
	if err != nil {
		return connectionCut(err)
	}
	if kind == websocket.MessageBinary {
		if v.buf, err = readInto(v.buf[:0], frame); err != nil {
			return connectionCut(err)
		}
		if e.Data, e.Replayed = v.buf, !v.numbered; v.numbered {
			v.position += int64(len(v.buf))
		}
		return nil
	}
	control, err := readControl(frame)
	if err == nil && control.Exit == nil {
		v.hear(control, e)
		return nil
	}
	// The server's last word: it waits for the answer to its close.
	_ = v.conn.Close(websocket.StatusNormalClosure, "")
	if err != nil {
		return err
	}
	v.end(control.Exit)
	return io.EOF
}

func (v *Viewer) hear(c v1.Control, e *TerminalEvent) {
	switch {
	case c.Terminal != nil:
		v.opened, v.position = *c.Terminal, c.Terminal.Position
	case c.Position != nil:
		v.position, v.numbered = *c.Position, true
	case c.Missed != nil:
		e.Missed, v.numbered = *c.Missed, false
		v.position += e.Missed
	case c.Resize != nil:
		e.Rows, e.Cols = c.Resize.Rows, c.Resize.Cols
	case c.Viewers != nil:
		e.Viewers = *c.Viewers
	}
}

// readInto appends what r holds to b.
func readInto(b []byte, r io.Reader) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}

func (o AttachOptions) query() url.Values {
	q := url.Values{}
	if len(o.Cmd) > 0 {
		q["cmd"] = o.Cmd
	}
	if len(o.Env) > 0 {
		q["env"] = o.Env
	}
	setString(q, "working_dir", o.WorkingDir)
	setString(q, "user", o.User)
	if o.Rows != 0 || o.Cols != 0 {
		q.Set("rows", strconv.Itoa(int(o.Rows)))
		q.Set("cols", strconv.Itoa(int(o.Cols)))
	}
	if o.NoInput {
		q.Set("no_input", "true")
	}
	return q
}
