package v1

import "time"

// Status of a session.
type Status string

// The statuses in the order of a session's life.
const (
	StatusCreating Status = "creating" // its container is being made
	StatusCreated  Status = "created"  // made, never started
	StatusStarting Status = "starting"
	StatusRunning  Status = "running"
	StatusStopping Status = "stopping"
	StatusStopped  Status = "stopped" // ended by itself or by request; may be started
	StatusFailed   Status = "failed"  // see Session.Failure
	StatusClosing  Status = "closing"
	StatusClosed   Status = "closed"  // removed; remembered for a while
	StatusUnknown  Status = "unknown" // the engine does not answer
)

// Statuses lists every status in that order.
func Statuses() []Status {
	return []Status{StatusCreating, StatusCreated, StatusStarting, StatusRunning, StatusStopping,
		StatusStopped, StatusFailed, StatusClosing, StatusClosed, StatusUnknown}
}

// What happens to a session past its idle or age limit: [Spec.OnExpire].
const (
	ExpireStop  = "stop"
	ExpireClose = "close"
)

// Whether a session's commands may run through Octobot's agent: [Spec.Agent].
const (
	AgentAuto = "auto"
	AgentOff  = "off"
)

// Spec is what a session's container is made from. In a request, what is absent has the server's
// default, and a limit of 0 is none at all, also where there is one by default. In an answer, a
// limit that is absent is none.
type Spec struct {
	Image        string            `json:"image,omitempty" doc:"Image reference, such as debian:12."`
	Cmd          []string          `json:"cmd,omitempty" nullable:"false" doc:"Replaces the image's command; its entrypoint stays."`
	Env          []string          `json:"env,omitempty" nullable:"false" doc:"NAME=value."`
	Binds        []string          `json:"binds,omitempty" nullable:"false" doc:"source:target[:ro|rw]. The source is a path on the engine's host, below a directory that the server allows."`
	NetworkMode  string            `json:"network_mode,omitempty" doc:"A network of the engine, or none; absent for the server's own."`
	Labels       map[string]string `json:"labels,omitempty" doc:"Labels of the container. Names that start with octobot are reserved."`
	PortBindings map[string]string `json:"port_bindings,omitempty" doc:"Container port (3000/tcp) to host port; empty or 0 for a random one, several with commas between. 8080/tcp is always published."`
	Tty          bool              `json:"tty,omitempty" doc:"The main process gets a terminal."`
	WorkingDir   string            `json:"working_dir,omitempty" doc:"Absolute path in the container."`
	User         string            `json:"user,omitempty" doc:"name, uid, name:group or uid:gid."`
	Resources    Resources         `json:"resources,omitzero"`
	Runtime      string            `json:"runtime,omitempty" doc:"The engine's name of an OCI runtime, such as runsc."`
	ReadOnly     bool              `json:"read_only,omitempty" doc:"The root file system is read-only."`
	Tmpfs        map[string]string `json:"tmpfs,omitempty" doc:"Absolute path to mount options, such as size=64m."`
	Platform     string            `json:"platform,omitempty" doc:"os/arch[/variant]; absent for the engine's own."`
	Agent        string            `json:"agent,omitempty" enum:"auto,off" doc:"Whether commands may run through Octobot's agent in the container. auto, or absent: where the server uses agents. off: never, and the container has none."`
	Record       bool              `json:"record,omitempty" doc:"Terminals that have names are recorded, from their first byte on. What they show can be read by everybody who may see the session, for as long as its record is kept."`

	IdleTimeout *Duration `json:"idle_timeout,omitempty" doc:"How long the session may go without a command, terminal input, start or unpause. 30m, 1h30m; 0s for as long as it likes."`
	MaxAge      *Duration `json:"max_age,omitempty" doc:"How long the session may live since its creation; 0s for ever."`
	OnExpire    string    `json:"on_expire,omitempty" enum:"stop,close" doc:"What either limit does."`
}

// Resources limit a session's container; see Spec for what is absent or 0.
type Resources struct {
	CPUs   *float64 `json:"cpus,omitempty" doc:"Cores; 1.5 is one and a half."`
	Memory *int64   `json:"memory,omitempty" doc:"Bytes, swap included."`
	PIDs   *int64   `json:"pids,omitempty" doc:"Processes and threads at once; never without a limit."`
}

// CreateSessionRequest is the body of POST /v1/sessions.
type CreateSessionRequest struct {
	ID      string `json:"id,omitempty" doc:"1 to 63 letters, digits, _ . and -, the first a letter or digit. Absent: the server makes one."`
	Project string `json:"project,omitempty" doc:"Groups sessions. A token of one project creates in that one only."`
	Spec
	Start       *bool        `json:"start,omitempty" default:"true" doc:"Start the session as well."`
	Credentials *Credentials `json:"credentials,omitempty" doc:"For pulling a private image. Never stored."`
}

// UpdateSessionRequest is the body of PATCH /v1/sessions/{id}. What is absent stays as it is.
type UpdateSessionRequest struct {
	Resources   Resources          `json:"resources,omitzero" doc:"A limit that the session has can't be taken away."`
	IdleTimeout *Duration          `json:"idle_timeout,omitempty" doc:"0s for as long as it likes."`
	MaxAge      *Duration          `json:"max_age,omitempty" doc:"0s for ever."`
	OnExpire    string             `json:"on_expire,omitempty" enum:"stop,close" doc:"What either limit does."`
	Labels      map[string]*string `json:"labels,omitempty" doc:"Labels to set, and with null to remove. The container keeps those that it was made with."`
}

// Credentials are a registry's.
type Credentials struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// Session is a session as it is at one moment.
type Session struct {
	ID      string `json:"id"`
	Project string `json:"project,omitempty"`
	Status  Status `json:"status" enum:"creating,created,starting,running,stopping,stopped,failed,closing,closed,unknown"`
	Reason  string `json:"reason,omitempty" doc:"Why the status is so, in words: exited with code 3."`
	Paused  bool   `json:"paused,omitempty" doc:"Its processes are frozen; only while it runs."`
	Address string `json:"address,omitempty" doc:"HTTP address of the container's port 8080 as seen from the engine's host. It changes at every start."`
	Ports   []Port `json:"ports,omitempty" nullable:"false" doc:"Published ports, while it runs."`
	Exec    *Exec  `json:"exec,omitempty" doc:"The way that its commands take, while it runs."`
	Spec
	ContainerID string     `json:"container_id,omitempty" doc:"The engine's ID of the container."`
	Exit        *Exit      `json:"exit,omitempty" doc:"How the main process last ended; absent where it runs, or never did."`
	Failure     *Failure   `json:"failure,omitempty" doc:"Why the session failed."`
	CreatedAt   time.Time  `json:"created_at"`
	StartedAt   *time.Time `json:"started_at,omitempty" doc:"The last start."`
	ActiveAt    *time.Time `json:"active_at,omitempty" doc:"The last command, terminal input, start or unpause."`
	ClosedAt    *time.Time `json:"closed_at,omitempty"`
	Warnings    []string   `json:"warnings,omitempty" nullable:"false" doc:"To an admin who has just created it: what a token of the project could not have done."`
}

// Exec is the way that a session's commands take into its container.
type Exec struct {
	Path   ExecPath `json:"path" enum:"agent,engine" doc:"agent: Octobot's own, about a millisecond each; engine: the engine's exec, about fifty."`
	Reason string   `json:"reason,omitempty" doc:"Why not the agent's, or what does not take it, in words."`
}

// ExecPath is one of two ways.
type ExecPath string

const (
	ExecAgent  ExecPath = "agent"
	ExecEngine ExecPath = "engine"
)

// Port is a port of the container that the engine's host publishes.
type Port struct {
	Container string `json:"container" doc:"3000/tcp"`
	HostIP    string `json:"host_ip"`
	HostPort  int    `json:"host_port"`
}

// Exit is how a main process ended.
type Exit struct {
	Code      int       `json:"code" doc:"128+n where signal n ended it."`
	OOMKilled bool      `json:"oom_killed,omitempty" doc:"The kernel ended a process for want of memory."`
	Reason    string    `json:"reason,omitempty"`
	At        time.Time `json:"at"`
}

// Failure is why a session failed.
type Failure struct {
	Code   Code      `json:"code"`
	Detail string    `json:"detail,omitempty"`
	At     time.Time `json:"at"`
}

// SessionList is one page of sessions, newest first.
type SessionList struct {
	Sessions []Session `json:"sessions" nullable:"false"`
	Next     string    `json:"next,omitempty" doc:"Pass it as after to get the next page; absent on the last."`
}
