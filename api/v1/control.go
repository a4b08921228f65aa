package v1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Channels of the exec WebSocket: the first byte of each binary frame. The rest of
// the frame is raw bytes, which may be none.
const (
	ChannelStdin  byte = 0 // up
	ChannelStdout byte = 1 // down
	ChannelStderr byte = 2 // down
)

// MaxFrame is the most that a WebSocket frame may hold, in bytes.
const MaxFrame = 1 << 20

// Control is a text frame of a WebSocket: an object with exactly one member.
//
// On GET /v1/sessions/{id}/exec the client sends start, once and first, then binary frames, and eof
// to close the command's stdin. The server sends binary frames, and last of all exit or error,
// before it closes.
//
// On GET /v1/sessions/{id}/attach every binary frame is bytes of the terminal. The client sends
// resize, the latest wins. The server sends exit, when the process has ended, or error.
//
// With a terminal's name, the server first sends terminal, whose position is that of the first byte
// that is numbered, and later viewers and resize, when one of them has changed. What is numbered
// are the bytes of all binary frames after a position, which is that of the first of them, until
// missed: so many bytes are left out. Binary frames before the first position, and those between
// missed and the next position, are to be shown all the same: they bring the screen into the state
// that it must have. A position comes as soon as that is over; who is cut off before has to ask for
// it once more (since=-1).
//
// On the WebSockets of connections into a session, every binary frame is bytes. Each side sends eof
// after the last of its bytes, and the other direction goes on. After both the server closes. It
// sends error instead where the connection was reset; a client that goes away without eof resets
// it. One that was accepted begins with connected. On the WebSocket of what listens, the server
// sends listening first, and error where nothing listens any more.
type Control struct {
	Start  *ExecRequest `json:"start,omitempty"`
	EOF    bool         `json:"eof,omitempty"`
	Resize *Size        `json:"resize,omitempty"`
	Exit   *ExitStatus  `json:"exit,omitempty"`
	Error  *Problem     `json:"error,omitempty"`

	Terminal *Terminal `json:"terminal,omitempty"`
	Position *int64    `json:"position,omitempty"`
	Missed   *int64    `json:"missed,omitempty"`
	Viewers  *int      `json:"viewers,omitempty"`

	Listening *Listening `json:"listening,omitempty"`
	Connected *Peer      `json:"connected,omitempty"`
}

// Size is a terminal's, in characters.
type Size struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// ParseControl reads a control frame. It is strict: one JSON object in valid UTF-8
// with exactly one member, which it knows; sizes are not 0.
func ParseControl(data []byte) (Control, error) {
	if !utf8.Valid(data) {
		return Control{}, errors.New("control frame: not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var c Control
	if err := dec.Decode(&c); err != nil {
		return Control{}, fmt.Errorf("control frame: %s", jsonProblem(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Control{}, errors.New("control frame: more than one JSON value")
	}
	members := 0
	for _, set := range []bool{c.Start != nil, c.EOF, c.Resize != nil, c.Exit != nil, c.Error != nil,
		c.Terminal != nil, c.Position != nil, c.Missed != nil, c.Viewers != nil,
		c.Listening != nil, c.Connected != nil} {
		if set {
			members++
		}
	}
	if members != 1 {
		return Control{}, fmt.Errorf("control frame: %d members instead of one", members)
	}
	if c.Resize != nil && (c.Resize.Rows == 0 || c.Resize.Cols == 0) {
		return Control{}, errors.New("control frame: resize: rows and cols are between 1 and 65535")
	}
	return c, nil
}

// jsonProblem says in words for people why JSON was refused.
func jsonProblem(err error) string {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("no JSON, from byte %d on", syntax.Offset)
	}
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if mismatch.Field == "" {
			return mismatch.Value + " instead of an object"
		}
		return fmt.Sprintf("%s: %s does not fit", mismatch.Field, mismatch.Value)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "no JSON, since its end is missing"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}
