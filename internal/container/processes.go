package container

import (
	"context"
	"io"
	"time"
)

// Processes runs commands in running containers that nobody waits for: each outlives who has
// started it and the Runtime, with the last of its output. It ends with its command, or the
// container's run. One that has ended is kept for ten minutes, or until a moment after it was
// waited for.
type Processes interface {
	// StartProcess starts cmd, without input, and returns when it runs. Not running:
	// [ErrContainerStopped]; a command that can't be started: [ErrExecFailed]; no room for another:
	// [ErrLimitReached]; nothing in this container keeps processes: [ErrUnsupported].
	StartProcess(ctx context.Context, sessionID string, cmd []string, opts ProcessOptions) (ProcessInfo, error)
	// ListProcesses gives those that StartProcess has started, in that order: the ones that run,
	// and those that have ended and are kept.
	ListProcesses(ctx context.Context, sessionID string) ([]ProcessInfo, error)
	// SignalProcess sends a signal, by its number, to the command's process group; SIGKILL to all
	// its descendants, and returns when none is left then. One that has ended: nil. No such
	// process: [ErrProcessNotFound].
	SignalProcess(ctx context.Context, sessionID, processID string, signal int) error
	// WaitProcess waits for the process to end. When ctx ends, the process goes on.
	WaitProcess(ctx context.Context, sessionID, processID string) (ProcessInfo, error)
	// ReadProcess writes what the process has written, as OutputOptions say, to stdout and stderr,
	// in the order in which it came and from one goroutine; a nil writer discards. It returns how
	// the process is then, Position being that of the byte after the last one written, and how many
	// bytes that were asked for are not kept any more, also beside an error. A reader that is slow
	// does not hold up the process, but misses more. An error of a writer's comes back.
	ReadProcess(ctx context.Context, sessionID, processID string, opts OutputOptions, stdout, stderr io.Writer) (
		info ProcessInfo, missed int64, err error)
}

// ProcessOptions say how a process runs; see [ExecOptions].
type ProcessOptions struct {
	Env        []string
	WorkingDir string
	User       string
	// Keep is how many bytes of its output are kept, of both streams together; zero:
	// DefaultKeep. More than that are kept on the container's disk, unless it has none that can be
	// written: [ErrUnsupported].
	Keep int64
}

// DefaultKeep is how much of a process's output is kept in memory, MaxKeep how much may be on disk.
const (
	DefaultKeep = 1 << 20
	MaxKeep     = 1 << 30
)

// Validate checks the options; an error is an [ErrInvalidArgument].
func (o ProcessOptions) Validate(cmd []string) error {
	if o.Keep < 0 || o.Keep > MaxKeep {
		return invalid("keep", "must be between 0 and %d bytes, not %d", MaxKeep, o.Keep)
	}
	return o.exec().Validate(cmd)
}

func (o ProcessOptions) exec() ExecOptions {
	return ExecOptions{Env: o.Env, WorkingDir: o.WorkingDir, User: o.User}
}

// OutputOptions say what to read of a process's output.
type OutputOptions struct {
	// Since is the position of the first byte that is wanted, of both streams together: 0 for all
	// that is kept. One that is not reached yet: [ErrInvalidArgument].
	Since  int64
	Follow bool // go on until the process ends
}

// Validate checks the options; an error is an [ErrInvalidArgument].
func (o OutputOptions) Validate() error {
	if o.Since < 0 {
		return invalid("since", "%d is no position", o.Since)
	}
	return nil
}

// ValidateProcessID checks an ID, which has a session ID's form.
func ValidateProcessID(id string) error { return validateID("process", id) }

// ProcessInfo is what is known of a process.
type ProcessInfo struct {
	ID       string
	Cmd      []string // cut where it is long
	PID      int      // in the container
	Started  time.Time
	Ended    time.Time // zero while it runs
	Position int64     // how much it has written so far, in bytes
	Kept     int64     // how many of the last of them are kept
	Running  bool
	ExitCode int // where it has ended; 128+n where signal n ended it
}
