package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/coder/websocket"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// AttachOptions say what a terminal is connected to. Without Cmd: the session's main process
// where that has a terminal, else the user's shell on a new one.
type AttachOptions struct {
	Cmd        []string
	Env        []string // "NAME=value"; for a new terminal
	WorkingDir string   // absolute; for a new terminal
	User       string   // for a new terminal
	Rows, Cols uint16   // both 0: the engine's default
	// NoInput tells a command that nothing is going to be typed: it sees the end of its input.
	NoInput bool
}

// Attach connects a terminal. ctx bounds the connecting alone: the terminal lives until its Close.
func (c *Client) Attach(ctx context.Context, id string, opts AttachOptions) (*Terminal, error) {
	return c.connect(ctx, id, opts.query())
}

func (c *Client) connect(ctx context.Context, id string, q url.Values) (*Terminal, error) {
	conn, err := c.dial(ctx, request{method: http.MethodGet, path: []string{"v1", "sessions", id, "attach"}, query: q})
	if err != nil {
		return nil, err
	}
	t := &Terminal{conn: conn}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t, nil
}

// Terminal is a connected terminal. One goroutine may Read while others Write, Resize and Close.
type Terminal struct {
	conn   *websocket.Conn
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	frame  io.Reader // the binary frame being read; nil between frames

	mu   sync.Mutex
	exit *v1.ExitStatus
}

// Read gives what the process writes, and io.EOF when it has ended.
func (t *Terminal) Read(p []byte) (int, error) {
	for {
		if t.frame != nil {
			n, err := t.frame.Read(p)
			if errors.Is(err, io.EOF) {
				t.frame, err = nil, nil
			}
			if n > 0 || err != nil {
				return n, connectionCut(err)
			}
			continue
		}
		kind, frame, err := t.conn.Reader(t.ctx)
		if err != nil {
			if t.exited() != nil {
				return 0, io.EOF
			}
			return 0, connectionCut(err)
		}
		if kind == websocket.MessageBinary {
			t.frame = frame
			continue
		}
		control, err := readControl(frame)
		if err == nil && control.Exit == nil {
			continue
		}
		// The server's last word: it waits for the answer to its close.
		_ = t.conn.Close(websocket.StatusNormalClosure, "")
		if err != nil {
			return 0, err
		}
		t.end(control.Exit)
		return 0, io.EOF
	}
}

// Write gives the process input.
func (t *Terminal) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		part := p[n:min(n+chunk, len(p))]
		if err := t.conn.Write(t.ctx, websocket.MessageBinary, part); err != nil {
			return n, fmt.Errorf("terminal: %w", inWords(err))
		}
		n += len(part)
	}
	return n, nil
}

// Resize sets the size in characters; the latest call wins.
func (t *Terminal) Resize(rows, cols uint16) error {
	return writeControl(t.ctx, t.conn, v1.Control{Resize: &v1.Size{Rows: rows, Cols: cols}})
}

// ExitCode gives the exit code, once Read has given io.EOF. Before that, it is an error.
func (t *Terminal) ExitCode() (int, error) {
	if exit := t.exited(); exit != nil {
		return exit.Code, nil
	}
	return 0, errors.New("terminal: the process has not ended, or the server did not say how")
}

func (t *Terminal) end(exit *v1.ExitStatus) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.exit = exit
}

func (t *Terminal) exited() *v1.ExitStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.exit
}

// Close disconnects. A terminal that Attach made is hung up with its processes; the session's main
// process, and a terminal that has a name, go on. It may be repeated, and unblocks Read and Write.
func (t *Terminal) Close() error {
	t.cancel()
	_ = t.conn.CloseNow()
	return nil
}

// dial opens a WebSocket. ctx bounds the opening alone.
func (c *Client) dial(ctx context.Context, r request) (*websocket.Conn, error) {
	conn, resp, err := websocket.Dial(ctx, c.url(r), &websocket.DialOptions{
		HTTPClient: c.http, HTTPHeader: c.header(),
		// An answer would have to wait behind input that the command does not read yet, and
		// the library takes a long wait for a broken connection. The server can do without.
		OnPingReceived: func(context.Context, []byte) bool { return false },
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			defer drain(resp.Body)
			return nil, readProblem(resp)
		}
		return nil, c.failed(ctx, r, err)
	}
	conn.SetReadLimit(v1.MaxFrame)
	return conn, nil
}

func writeControl(ctx context.Context, conn *websocket.Conn, control v1.Control) error {
	b, err := encode(control)
	if err != nil {
		return fmt.Errorf("control frame: %w", err)
	}
	return conn.Write(ctx, websocket.MessageText, b)
}

// readControl reads a control frame from the server; an error that it tells is returned as one.
// What a later server adds is passed over.
func readControl(frame io.Reader) (v1.Control, error) {
	var control v1.Control
	b, err := io.ReadAll(frame)
	if err != nil {
		return control, connectionCut(err)
	}
	if err := json.Unmarshal(b, &control); err != nil {
		return control, fmt.Errorf("control frame: %w", inWords(err))
	}
	if control.Error != nil {
		return control, fromProblem(*control.Error)
	}
	return control, nil
}

// connectionCut says that a connection ended without a word on how the process did. What the
// server gave as a reason is kept.
func connectionCut(err error) error {
	if err == nil {
		return nil
	}
	if closed, ok := errors.AsType[websocket.CloseError](err); ok && strings.TrimSpace(closed.Reason) != "" {
		return fmt.Errorf("the server closed the connection: %s", closed.Reason)
	}
	if errors.Is(err, io.EOF) { // which means something else to readers
		err = io.ErrUnexpectedEOF
	}
	return &worded{"the connection was cut", err}
}

// writeOutput writes the bytes of an output event; a nil writer drops them.
func writeOutput(w io.Writer, data []byte) error {
	var out v1.Output
	if err := json.Unmarshal(data, &out); err != nil {
		return fmt.Errorf("output event: %w", inWords(err))
	}
	if w == nil {
		return nil
	}
	_, err := w.Write(out.Data)
	return err
}
