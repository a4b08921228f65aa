// Package container is the seam between Octobot and the engines that run
// containers. It holds the [Runtime] interface that every provider implements,
// the types that cross it, the error classes that come back, and the small
// optional interfaces for what only some engines can do.
//
// The package knows nothing of any engine and imports nothing of Octobot's.
//
// # A container's life
//
// A session has at most one container. Create makes it, with status "created":
// its file system and its settings exist, nothing runs. Start runs its main
// process: "running". The process ends by itself, or Stop ends it: "stopped",
// with an exit code; the file system stays, and Start runs it once more. Remove
// ends it at any point, and from then on the session has no container again.
//
//	        Create            Start
//	(none) ───────▶ created ───────▶ running
//	   ▲               │              │   ▲
//	   │               │  Stop, exit  ▼   │ Start
//	   └───────────────┴──────────── stopped
//	         Remove
//
// The session ID is the only name that crosses the seam. A container is found by its name, and by
// its labels where somebody has changed the name behind our back. Two instances of
// Octobot can share an engine: a Runtime lists, finds and removes only the
// containers that carry its own instance's label.
package container

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"
)

// Runtime creates, runs and removes the containers of sessions, one container a session.
//
// What holds for every method:
//
//   - It may be called from many goroutines at once, for one session or many.
//   - A sessionID that [ValidateSessionID] refuses gives [ErrInvalidArgument],
//     and the engine is not asked anything.
//   - A ctx that has ended before the call gives its error, and the engine is
//     not asked anything.
//   - A session without a container gives [ErrContainerNotFound]; a container
//     of the same name that is not this instance's is "no container".
//   - An engine that does not answer, or fails without a word, gives
//     [ErrUnavailable]; one that refuses in words that mean no other class,
//     [ErrRefused]. Neither stands for "not found", nor for "nothing happened".
//   - After Close (see [Closer]) every call gives [ErrClosed].
//   - Errors are [*Error] values: the operation, the session and the cause, and
//     one class of this package that errors.Is finds.
type Runtime interface {
	// Create makes the session's container and returns it with status
	// "created". It validates sessionID and opts as a whole first
	// ([ErrInvalidArgument]).
	//
	// An image that the engine lacks is pulled. However many callers wait for the
	// same image, platform and credentials, it is pulled once; a caller whose
	// ctx ends stops waiting, and the pull goes on for the others. An image that
	// can't be had is [ErrImageNotFound].
	//
	// A session that has a container gives [ErrContainerExists], and that container is
	// untouched. A failed or cancelled Create leaves nothing behind, neither
	// container nor volume; what takes the engine longer than the caller waits is undone by the
	// provider, which owns that until its Close returns. (An image that was pulled stays.)
	Create(ctx context.Context, sessionID string, opts Options) (*Container, error)

	// Start runs the container's main process and returns when it has started; published ports are
	// known from then on. A running container: nil, and a paused one stays so. A host port that is
	// taken gives [ErrPortTaken], a command that can't be executed [ErrExecFailed]; the container
	// does not run then, and may be started again.
	//
	// When ctx ends, the container may or may not have been started.
	Start(ctx context.Context, sessionID string) error

	// Stop sends the image's stop signal, then SIGKILL after timeout, and returns
	// when the main process has ended. A timeout of 0 kills at once, a negative
	// one means [DefaultStopTimeout]; fractions of a second may be rounded up.
	// A container that does not run: nil. A paused one is stopped as well.
	//
	// When ctx ends, the stop may go on in the engine.
	Stop(ctx context.Context, sessionID string, timeout time.Duration) error

	// Remove ends the container, running or not, and removes it with its
	// anonymous volumes. It returns once the name is free again, so that a Create
	// may follow. A repeated call gives [ErrContainerNotFound].
	//
	// When ctx ends, the removal may go on in the engine.
	Remove(ctx context.Context, sessionID string) error

	// Get returns the container as the engine has it now, with one call to the engine.
	Get(ctx context.Context, sessionID string) (*Container, error)

	// List returns this instance's containers as the engine has them now, in the order of their
	// creation, with one call to the engine however many there are. An empty list means that the
	// engine answered, and had none. What only an inspection can tell (exit code, OOM, reason,
	// start and end times) may be absent; see [Container.Detailed].
	List(ctx context.Context) ([]*Container, error)

	// Exec runs cmd in the running container and waits for it. An exit code
	// other than 0 is a result, not an error; a command killed by signal n has
	// the exit code 128+n. A background child that keeps the output open does not hold
	// the call.
	//
	// A command that can't be started gives [ErrExecFailed] with the engine's
	// reason; a container that does not run, or ends meanwhile, [ErrContainerStopped];
	// one that is paused, [ErrContainerPaused]; an empty cmd [ErrInvalidArgument].
	//
	// When ctx ends, the command and its children inside the container are killed, and the error is
	// ctx's, with what had been written to stdout and stderr until then in the result. Where it is
	// not known that they were, the error is also [ErrMayStillRun]. Output above opts.MaxOutput is
	// read and dropped, and the result says so.
	Exec(ctx context.Context, sessionID string, cmd []string, opts ExecOptions) (*ExecResult, error)

	// Attach connects a terminal. With opts.Cmd it is that command on a new PTY.
	// Without, it is the container's main process where that was created with a
	// TTY, else the user's shell on a new PTY ($SHELL, /bin/bash, /bin/sh: the
	// first that exists).
	//
	// opts.Rows and opts.Cols are in force before the first byte. With them, a main process is told
	// that its terminal's size has changed, so that it draws its screen for who comes. ctx bounds
	// the attaching alone: when it ends afterwards, the terminal lives on until its Close. A
	// container that does not run gives [ErrContainerStopped], a paused one [ErrContainerPaused].
	Attach(ctx context.Context, sessionID string, opts AttachOptions) (PTY, error)
}

// Status of a container, however many states its engine has.
const (
	// StatusCreated is a container that has never run.
	StatusCreated = "created"
	// StatusRunning is a container whose main process runs, a paused or
	// restarting one among them.
	StatusRunning = "running"
	// StatusStopped is a container whose main process has ended.
	StatusStopped = "stopped"
)

// DefaultStopTimeout is what Stop's negative timeout means.
const DefaultStopTimeout = 10 * time.Second

// DefaultMaxOutput is what [ExecOptions.MaxOutput]'s zero means: 16 MiB.
const DefaultMaxOutput = 16 << 20

// Container is what an engine reports of a session's container. It is a copy;
// the caller may keep and change it.
type Container struct {
	ID        string // the engine's ID of it
	SessionID string
	Status    string // one of StatusCreated, StatusRunning, StatusStopped
	// Address is the HTTP address of the container's port 8080 as seen from the
	// engine's host, "http://127.0.0.1:49153"; empty where it is not running or
	// publishes no ports. The engine gives a new port at each start, so it is read
	// from the engine every time and must not be kept.
	Address   string
	Labels    map[string]string // all labels, Octobot's and the caller's
	CreatedAt time.Time

	Image string
	// Ports are the published ports, ordered; empty where it is not running.
	Ports []Port
	// Paused is true for a running container whose processes are frozen.
	Paused bool

	// Detailed reports whether the fields below were read. Get always reads them;
	// List does where the engine's listing has them.
	Detailed   bool
	StartedAt  time.Time // zero: never started
	FinishedAt time.Time // zero: never ended
	ExitCode   int       // of the main process; meaningful with StatusStopped
	OOMKilled  bool      // the kernel ended a process of it for want of memory
	Reason     string    // the engine's words on why it stopped or could not start, if any
	Tty        bool      // created with a TTY

	// Exec is the way of commands into it; of a Runtime that knows only one, the zero value.
	Exec ExecPath

	// Only Get reads these, and only where the engine tells.
	User     string // whom processes run as that name nobody, as it was configured; empty: root
	SetsHome bool   // HOME was configured, and is not the user's own
}

// ExecPath is the way of commands into a container.
type ExecPath struct {
	Agent bool // through Octobot's agent; else it is the engine's own exec
	// Reason says why not through the agent, or what does not go through it; may be empty.
	Reason string
}

// Port is a port of the container that the engine's host publishes.
type Port struct {
	Container string // "8080/tcp"
	HostIP    string
	HostPort  int
}

// Options say what container a session gets. The zero value of every field but
// Image is valid.
type Options struct {
	Image string // reference, "debian:12" or "name@sha256:…"; required
	// Cmd replaces the image's command; its entrypoint stays. Nil: the image's.
	Cmd []string
	Env []string // "NAME=value"
	// Binds are "source:target[:ro|rw]". The source is an absolute path on the engine's host, or
	// the name of a volume. Paths that would expose the host (/, /proc, /sys,
	// /dev, /run, the engine's socket, or a parent of them) are refused.
	Binds []string
	// NetworkMode is the engine's network to join; empty for one of the provider's choice, "none"
	// for none. "host" and "container:…" are refused.
	NetworkMode string
	// Labels are the caller's own. Keys that start with "octobot" are refused.
	Labels map[string]string
	// PortBindings publish container ports: "3000/tcp" or "3000" → host port; empty or "0" for a
	// random one, several with commas between: "18001,18002". Always on the provider's configured
	// address, 127.0.0.1 by default. "8080/tcp" is always published, at random unless named here.
	PortBindings map[string]string

	// ProjectID becomes the label octobot.project. It has a session ID's form, or is empty.
	ProjectID string
	// Origin becomes the label octobot.origin: where the session was recorded,
	// in the words of whoever recorded it. At most 128 printable ASCII characters.
	Origin string

	Tty        bool   // the main process gets a TTY
	WorkingDir string // absolute; empty for the image's
	User       string // "name", "uid", "name:group", "uid:gid"; empty for the image's
	Resources  Resources
	// Runtime is the engine's name of an OCI runtime ("runsc", "kata"); empty for its default.
	Runtime string
	// ReadOnly mounts the root file system read-only.
	ReadOnly bool
	// Tmpfs mounts a tmpfs at each absolute path; the value holds mount options ("size=64m"), or
	// nothing.
	Tmpfs map[string]string
	// Platform is "os/arch[/variant]"; empty for the engine's own.
	Platform string

	// Program, where not nil, is put into the container beside the image's own files, where the
	// provider can do that: LabelProgram tells. Where it can't, the container is made without it.
	Program *Program
	// NoProgram keeps the container as it is without us: what wraps a Runtime to add a Program adds
	// none.
	NoProgram bool

	// Credentials are for pulling the image, where it is private. Never stored.
	Credentials *Credentials
	// Progress, where not nil, is told how the pull gets on, from one goroutine at
	// a time, and never after Create has returned. It must not block for long.
	Progress func(PullProgress)
	// Pulling, where not nil, is called when the image has to be pulled, and waited for: a caller
	// who bounds what goes on at once can count pulls apart, which may take long. Create calls
	// ended when the pull has ended, however it did. An error of either is Create's.
	Pulling func(ctx context.Context) (ended func() error, err error)
}

// Program is a static executable of ours that a container gets, read-only.
type Program struct {
	Path string // absolute, in the container; nothing else is in its directory
	// Scratch is the absolute path of a small tmpfs that the program has for itself; every user may
	// make files of his own in it, and nobody changes another's.
	Scratch string
	// Binary gives the program for an architecture as Go names it ("amd64"), or an error where
	// there is none for that.
	Binary func(arch string) ([]byte, error)
}

// Resources limit a container. Zero means the provider's configured default.
type Resources struct {
	CPUs   float64 // cores, 1.5 is one and a half; at least 0.01
	Memory int64   // bytes, swap included; at least 6 MiB
	PIDs   int64   // processes and threads at once; at least 8
}

// Credentials are a registry's.
type Credentials struct {
	Username string
	Password string
}

// PullProgress is one step of an image's pull.
type PullProgress struct {
	Image   string
	Layer   string // short ID; empty where it is about the image as a whole
	Status  string // the engine's words: "Downloading", "Pull complete"
	Current int64  // bytes; 0 where unknown
	Total   int64  // bytes; 0 where unknown
}

// ExecOptions say how a command runs. The zero value runs it as the container's
// user, in its working directory, without stdin.
type ExecOptions struct {
	Env        []string // "NAME=value", on top of the container's
	WorkingDir string   // absolute; empty for the container's
	// Tty runs it on a PTY. All output is one stream then, in Stdout, with CRLF
	// line ends.
	Tty  bool
	User string // as [Options.User]; empty for the container's

	// Stdin is read until its EOF, which the command sees as its own. A Read that still blocks
	// when the command has ended is abandoned: its goroutine ends when that Read returns, so
	// close what could block for ever. Nil: the command sees EOF at once.
	Stdin io.Reader
	// Rows and Cols are the PTY's size, with Tty; zero for the engine's default.
	Rows, Cols uint
	// MaxOutput bounds each of Exec's two output streams, in bytes; zero for
	// DefaultMaxOutput. ExecStream ignores it.
	MaxOutput int64
}

// ExecResult is how a command ended, and what it wrote.
type ExecResult struct {
	ExitCode int
	Stdout   string // raw bytes, not necessarily UTF-8
	Stderr   string

	// StdoutTruncated and StderrTruncated say that the stream was longer than
	// MaxOutput and was cut there.
	StdoutTruncated bool
	StderrTruncated bool
}

// AttachOptions say what a terminal is connected to; see [Runtime].Attach.
type AttachOptions struct {
	Cmd        []string
	Env        []string // "NAME=value"; for a new PTY. TERM is xterm-256color unless named.
	WorkingDir string   // absolute; for a new PTY
	User       string   // for a new PTY
	Rows, Cols uint     // zero for the engine's default
	// NoInput has the end of its input typed at a command's PTY: nobody else is going to.
	NoInput bool
}

// TerminalEnv is Env with TERM, where that is not named.
func (o AttachOptions) TerminalEnv() []string {
	if slices.ContainsFunc(o.Env, func(e string) bool { return strings.HasPrefix(e, "TERM=") }) {
		return o.Env
	}
	return append(slices.Clip(o.Env), "TERM=xterm-256color")
}

// PTY is a connected terminal. Read and Write may be called at the same time,
// and with Resize and Close.
//
//   - Read gives what the process writes, and io.EOF when it has ended; the exit
//     code can be asked for then, see [ExitCoder].
//   - Close hangs up the processes of a PTY that Attach made (SIGHUP, as closing a
//     terminal's window does); of the main process it only detaches. It unblocks
//     Read and Write, may be repeated, and always returns nil after the first time.
//   - Resize sets the size; the latest call wins. An engine may answer a moment before the
//     size is in force. After the process has ended: nil.
type PTY interface {
	io.ReadWriteCloser
	Resize(height, width uint) error
}

// ExitCoder is implemented by every PTY of Octobot's providers.
type ExitCoder interface {
	// ExitCode waits for the process to end and gives its exit code; 128+n
	// where signal n ended it. After Close, or where the engine did not say, it gives an
	// error: a code is never made up.
	ExitCode(ctx context.Context) (int, error)
}
