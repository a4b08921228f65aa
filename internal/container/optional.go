package container

import (
	"context"
	"io"
	"net"
	"time"
)

// Wrapper is a Runtime that adds to another.
type Wrapper interface {
	Runtime
	// Unwrap returns the Runtime beneath.
	Unwrap() Runtime
}

// As finds an optional interface: rt itself if it implements T, else what it wraps, and so on
// inwards. A wrapper overrides an optional interface by implementing it.
//
//	logs, ok := container.As[container.LogReader](rt)
func As[T any](rt Runtime) (T, bool) {
	for rt != nil {
		if t, ok := rt.(T); ok {
			return t, true
		}
		w, ok := rt.(Wrapper)
		if !ok {
			break
		}
		rt = w.Unwrap()
	}
	var zero T
	return zero, false
}

// Capabilities are facts about a Runtime, for callers that do different things on different
// engines. Whether an optional interface is there, [As] tells.
type Capabilities struct {
	// Ports: containers publish ports; Address, Ports and Options.PortBindings mean something.
	Ports bool
	// KeepsFilesOnStop: the file system outlives Stop and is there at the next Start.
	KeepsFilesOnStop bool
	// ReportsOOM: Container.OOMKilled is told.
	ReportsOOM bool
	// EnforcesResources: Options.Resources are enforced, not only accepted.
	EnforcesResources bool
	// UpdatesResources: they can be changed, see [Updater].
	UpdatesResources bool
	// KillsExec: a cancelled Exec kills the command and its children.
	KillsExec bool
	// RealProcesses: commands are real programs of a real file system (a mock's are scripted).
	RealProcesses bool
	// HoldsPorts: host ports are really bound, so that one that is taken is noticed.
	HoldsPorts bool
	// RemovesAnonymousVolumes: Remove removes the anonymous volumes of the image.
	RemovesAnonymousVolumes bool
}

// Capable is implemented by runtimes that state their Capabilities.
type Capable interface {
	Capabilities() Capabilities
}

// CapabilitiesOf returns what rt, or what it wraps, states; nothing where none does.
func CapabilitiesOf(rt Runtime) Capabilities {
	if c, ok := As[Capable](rt); ok {
		return c.Capabilities()
	}
	return Capabilities{}
}

// Closer is implemented by runtimes that hold connections or goroutines.
type Closer interface {
	// Close ends what the runtime has under way and waits for its goroutines. Containers are not
	// touched. A repeated call: nil.
	Close() error
}

// Prober tells what engine there is.
type Prober interface {
	// Probe asks the engine; ErrUnavailable where it does not answer.
	Probe(ctx context.Context) (EngineInfo, error)
}

// EngineInfo is what an engine says of itself.
type EngineInfo struct {
	Name       string // "docker", "podman", "mock"
	Version    string
	APIVersion string // in use, after negotiation
	Host       string // how it is reached: "unix:///var/run/docker.sock"
	OS         string
	Arch       string
	Rootless   bool
	CgroupV2   bool
	Runtimes   []string // OCI runtimes, ordered
	// Warnings are what limits sessions on this engine, one sentence each.
	Warnings []string
}

// Event is a hint that something happened to a session's container.
type Event struct {
	SessionID   string
	ContainerID string
	Kind        string // one of the Event… constants
	Time        time.Time
}

// Kinds of events.
const (
	EventCreated = "created"
	EventStarted = "started"
	EventStopped = "stopped"
	EventOOM     = "oom"
	EventRemoved = "removed"
)

// Watcher tells of changes as they happen.
type Watcher interface {
	// Watch subscribes to what happens to this instance's containers from now on: when it returns,
	// no later event is missed. Events are hints, may be late, doubled or lost; List is the truth.
	// The channel is closed when ctx ends or the engine's stream breaks; the caller watches again
	// and lists. The caller must drain the channel or end ctx.
	Watch(ctx context.Context) (<-chan Event, error)
}

// LogOptions select from a container's log.
type LogOptions struct {
	Follow bool      // go on until the main process ends
	Tail   int       // only the last n lines; negative for all, 0 for none of the past
	Since  time.Time // only what was written at or after it; zero for all
	// Timestamps puts an RFC 3339 time and a space before every line.
	Timestamps bool
}

// LogReader reads what the main process has written.
type LogReader interface {
	// Logs writes the log of the container, running or not, to stdout and stderr (all to stdout
	// where it has a TTY) and returns at its end: with Follow, when the main process ends (nil) or
	// ctx does (its error). It calls the writers from one goroutine; an error of theirs ends it and
	// comes back.
	Logs(ctx context.Context, sessionID string, opts LogOptions, stdout, stderr io.Writer) error
}

// StreamExecer is Exec without a bound on output.
type StreamExecer interface {
	// ExecStream runs cmd as Exec does, and writes its output as it comes: raw bytes, both streams
	// from one goroutine, in the order in which the engine tells them; a slow writer slows the
	// command. It returns the exit code when the command has ended and its output is written.
	// opts.Stdin is its input. A nil writer discards. A writer's error kills the command as the end
	// of ctx does, and comes back.
	ExecStream(
		ctx context.Context, sessionID string, cmd []string, opts ExecOptions, stdout, stderr io.Writer,
	) (exitCode int, err error)
}

// Dialer connects to programs in containers, for conversations that last.
type Dialer interface {
	// Dial runs cmd in the running container, as the user (see ExecOptions.User), and connects its
	// standard input and output. ctx bounds the dialling alone. Nothing watches the program: the
	// connection ends with it, and Close ends its input, upon which it is expected to end. It ends
	// with an error, within a minute, where the engine does not answer any more. The caller closes
	// the connection.
	Dial(ctx context.Context, sessionID, user string, cmd []string) (Conn, error)
}

// Conn is a connection to a program in a container.
type Conn interface {
	net.Conn
	// Stderr returns the end of what the program has said on standard error so far, for a person to
	// read. It comes with what is read.
	Stderr() string
}

// Copier moves files as tar archives. The container may be stopped or created.
type Copier interface {
	// CopyTo unpacks the tar archive from r into the directory path, which must
	// exist ([ErrPathNotFound]). Owners and modes are the archive's. When it fails
	// midway, what was unpacked until then stays.
	CopyTo(ctx context.Context, sessionID, path string, r io.Reader) error
	// CopyFrom returns path, a file or a directory with all below it, as a tar archive whose names
	// start with path's last element. A link that leads somewhere comes as one, if with another way
	// there. The caller closes it. A path that does not exist: [ErrPathNotFound].
	CopyFrom(ctx context.Context, sessionID, path string) (io.ReadCloser, error)
}

// Stats are a running container's use of its resources at one moment. What is counted is
// counted from the container's last start.
type Stats struct {
	Time        time.Time
	CPUTotal    time.Duration // CPU time used, of all cores together
	MemoryUsed  int64         // bytes, without the page cache that can be dropped
	MemoryLimit int64         // bytes; the engine's own without a limit, 0 where it does not tell
	PIDs        int64         // processes and threads

	// Bytes over all network interfaces; 0 for a container without a network of its own.
	NetworkReceived, NetworkSent int64
	// Bytes from and to block devices; 0 where the engine does not count them.
	BlockRead, BlockWritten int64
}

// StatsReader tells what a container uses.
type StatsReader interface {
	// Stats takes one sample, also of a paused container. Not running: ErrContainerStopped.
	Stats(ctx context.Context, sessionID string) (*Stats, error)
}

// Pauser freezes containers.
type Pauser interface {
	// Pause freezes every process of the container. Paused already: nil. Not running:
	// ErrContainerStopped. What needs a process of a paused container fails with
	// ErrContainerPaused: Exec, Attach, and what an agent does in it.
	Pause(ctx context.Context, sessionID string) error
	// Unpause lets them go on. Not paused: nil. Not running: ErrContainerStopped.
	Unpause(ctx context.Context, sessionID string) error
}

// OriginReader tells whose the container is that a session's calls reach. A name may have come to
// another container than the caller's record is about: of an earlier session of that ID, where the
// record comes from a backup.
type OriginReader interface {
	// Origin gives the label [LabelOrigin] of the session's container; empty where it has none. It
	// is cheap enough to ask before every call: the engine is asked about a container only when it
	// has not been seen before. A later call does not go on to a container of another origin: what
	// came in the place of the one that was looked at is [ErrContainerNotFound].
	Origin(ctx context.Context, sessionID string) (string, error)
}

// StrangerKeeper deals with what other instances have on the engine: of an installation beside this
// one, or of one whose store is lost, so that nobody else ever will.
type StrangerKeeper interface {
	// ListStrangers returns the containers of other instances, in the order of their creation.
	// [LabelInstance] tells whose they are.
	ListStrangers(ctx context.Context) ([]*Container, error)
	// RemoveStranger removes the container of that ID, the engine's, running or not, with its
	// anonymous volumes, where it is that other instance's; else [ErrContainerNotFound]. A network
	// of that instance's which nothing is on any more goes with it.
	RemoveStranger(ctx context.Context, instance, containerID string) error
}

// HostProcesses tells where a container is among the host's processes, for who has to look at it
// from outside.
type HostProcesses interface {
	// MainPID gives the container's main process, by the ID that it has on the engine's host. Not
	// running: ErrContainerStopped. The processes are not the host's, but those of a kernel in
	// between: ErrUnsupported.
	MainPID(ctx context.Context, sessionID string) (int, error)
}
