package container

import (
	"context"
	"io"
	"time"
)

// TerminalLinger is how long a terminal lives without viewers unless another time is asked for.
const TerminalLinger = 24 * time.Hour

// MaxTerminalLinger bounds that.
const MaxTerminalLinger = 365 * 24 * time.Hour

// Terminals keeps terminals in running containers by their names: each a command on a PTY, with the
// last of its output. A terminal outlives its viewers and the Runtime. It ends with its command,
// with the container's run, when it is ended, or when nobody has looked at it for a while.
type Terminals interface {
	// OpenTerminal connects a viewer with a terminal, which is made where there is none of that
	// name, or one that has ended. ctx bounds the opening alone. Not running:
	// [ErrContainerStopped]; a command that can't be started: [ErrExecFailed]; no such terminal:
	// [ErrTerminalNotFound]; one where there must be none: [ErrTerminalExists]; no room for
	// another: [ErrLimitReached]; nothing in this container keeps terminals: [ErrUnsupported].
	OpenTerminal(ctx context.Context, sessionID string, opts TerminalOptions) (Terminal, error)
	// ListTerminals gives the terminals, in the order of their making: those that run, and those
	// that have ended a short while ago.
	ListTerminals(ctx context.Context, sessionID string) ([]TerminalInfo, error)
	// EndTerminal hangs the terminal's processes up, as the closing of a window does, and returns
	// when its command has ended. Its name is free then. No such terminal: [ErrTerminalNotFound].
	EndTerminal(ctx context.Context, sessionID, name string) error
}

// TerminalOptions say which terminal to open, and how.
type TerminalOptions struct {
	// AttachOptions are of a terminal that is made, but for Rows and Cols, which are the viewer's
	// size. Without Cmd it is the user's shell.
	AttachOptions
	Name string // has a session ID's form
	// New: there must be no terminal of that name, but one that has ended.
	New bool
	// ID, where not empty, is that of the terminal that the viewer comes back to, ended or not: it
	// gets the bytes as they were written, and nothing is shown once more. Since is the position of
	// the first byte that it wants then, see [TerminalEvent].
	ID    string
	Since int64 // or ShowAgain
	// ReadOnly: input is refused, the viewer's size means nothing, and no terminal is made.
	ReadOnly bool
	// Linger is how long a terminal that is made lives without viewers, in whole seconds; zero:
	// TerminalLinger.
	Linger time.Duration
}

// ShowAgain, for [TerminalOptions].Since, is for who comes back to a certain terminal and wants to
// be shown what is kept once more, as who comes without an ID.
const ShowAgain = -1

// Validate checks the options; an error is an [ErrInvalidArgument].
func (o TerminalOptions) Validate() error {
	if err := ValidateTerminalName(o.Name); err != nil {
		return err
	}
	switch {
	case o.Since < ShowAgain:
		return invalid("since", "%d is no position", o.Since)
	case o.Since != 0 && o.ID == "":
		return invalid("since", "a position is one of a certain terminal, whose ID must be given too")
	case o.New && o.ID != "":
		return invalid("new", "a terminal that has an ID is not new")
	case o.New && o.ReadOnly:
		return invalid("new", "a terminal that is new has to be typed at")
	case o.Linger < 0 || o.Linger > MaxTerminalLinger || o.Linger%time.Second != 0:
		return invalid("linger", "must be whole seconds between 0 and %v, not %v", MaxTerminalLinger, o.Linger)
	}
	return o.AttachOptions.Validate()
}

// ValidateTerminalName checks a terminal's name, which has a session ID's form.
func ValidateTerminalName(name string) error { return validateID("terminal", name) }

// TerminalInfo is what is known of a terminal.
type TerminalInfo struct {
	Name       string
	ID         string   // tells it from others that have had its name
	Cmd        []string // what runs there; cut where it is long
	PID        int      // of the command, in the container
	Created    time.Time
	Rows, Cols uint // the size in force: that of the viewer who was the last to do something, if it has one
	Viewers    int
	Position   int64     // how much it has written so far, in bytes
	Active     time.Time // when it was last typed at, or wrote something
	Running    bool
	ExitCode   int // where it has ended; 128+n where signal n ended it
}

// Terminal is a viewer's connection with a terminal. One goroutine may wait for what comes while
// others type, resize and close.
type Terminal interface {
	// Opened gives the terminal as it was when the viewer came, and whether it was made for it. Its
	// Position is that of the first byte which the viewer gets that is not shown once more.
	Opened() (info TerminalInfo, made bool)
	// Next waits for what the viewer is to know next. io.EOF: the command has ended, or its
	// container has; io.ErrClosedPipe: Close was called. A viewer that takes nothing for long does
	// not hold up the terminal, but loses what is not kept any more.
	Next() (TerminalEvent, error)
	// Write types. A viewer that only reads: [ErrInvalidArgument].
	io.Writer
	// Resize sets the viewer's size, which is the terminal's from now on; the latest call wins.
	Resize(height, width uint) error
	// Close leaves the terminal, which lives on. It unblocks Next and Write, may be repeated, and
	// always returns nil.
	io.Closer
	ExitCoder
}

// TerminalEvent is something that a viewer of a terminal is told.
//
// A terminal's output is numbered from its first byte, whose position is 0. A viewer that comes
// back gets what it has not had, byte for byte, if that is kept still. One that comes without a
// position is shown what is kept once more, so that its screen becomes what it would be: that is
// not numbered, for it is not exactly what was written. Before it come the modes that the screen
// was in, and what would make the screen answer or ring is left out. An event that says nothing but
// a position comes when that is over: only then has the viewer seen all that is before it.
type TerminalEvent struct {
	Data     []byte // to be shown, valid until the next call; may be empty
	Replayed bool   // Data is what is shown once more, or sets modes
	Position int64  // of the byte after Data
	Missed   int64  // so many bytes before Data are left out
	// Viewers is how many look now, this one among them, and Rows and Cols the size in force; all
	// zero where none of it has changed.
	Viewers    int
	Rows, Cols uint
}
