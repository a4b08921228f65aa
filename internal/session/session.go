package session

import (
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Session is a user's unit of work as the store records it: what was asked for,
// what is under way, and the facts that came of it. What users see as its status
// is computed from this and from what the engine reports, never stored.
type Session struct {
	ID        string
	ProjectID string // empty: no project
	Spec      Spec

	// Next is what Spec becomes by an update that is not finished; nil without.
	Next *Spec

	// Desired is what the user last asked for.
	Desired Desired
	// Pending is the change that was begun and whose outcome is not recorded yet. It
	// is written before the engine is touched; a crash leaves it for the next reconciliation.
	Pending      Operation
	PendingSince time.Time // zero without Pending

	// Origin is "<generation>:<sequence>": which store recorded the session, and the session's
	// number there. The store allots it; the container carries it as a label.
	Origin string
	// ContainerID is the engine's ID of the container; empty before there is one.
	ContainerID string

	// Exit is how the main process last ended; nil where it never did, or runs again.
	Exit *Exit
	// Failure is why the session failed; nil where it did not.
	Failure *Failure

	CreatedAt time.Time
	StartedAt time.Time // last start; zero: never
	ActiveAt  time.Time // last command, terminal input, start or unpause; for the idle limit
	ClosedAt  time.Time // zero: not closed

	// Version counts the record's changes; see Store.UpdateSession.
	Version int64
}

// Spec is what a session's container is made from. It is kept as JSON.
type Spec struct {
	Image        string            `json:"image"`
	Cmd          []string          `json:"cmd,omitempty"`
	Env          []string          `json:"env,omitempty"`
	Binds        []string          `json:"binds,omitempty"`
	NetworkMode  string            `json:"network_mode,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	PortBindings map[string]string `json:"port_bindings,omitempty"`
	Tty          bool              `json:"tty,omitempty"`
	WorkingDir   string            `json:"working_dir,omitempty"`
	User         string            `json:"user,omitempty"`
	CPUs         float64           `json:"cpus,omitempty"`
	Memory       int64             `json:"memory,omitempty"`
	PIDs         int64             `json:"pids,omitempty"`
	Runtime      string            `json:"runtime,omitempty"`
	ReadOnly     bool              `json:"read_only,omitempty"`
	Tmpfs        map[string]string `json:"tmpfs,omitempty"`
	Platform     string            `json:"platform,omitempty"`
	Agent        Agent             `json:"agent,omitempty"`  // empty: auto
	Record       bool              `json:"record,omitempty"` // its terminals that have names are recorded

	IdleTimeout time.Duration `json:"idle_timeout,omitempty"` // zero: none
	MaxAge      time.Duration `json:"max_age,omitempty"`      // since CreatedAt; zero: none
	OnExpire    Expiry        `json:"on_expire,omitempty"`    // what either limit does; empty: stop
}

// Options gives the spec in the seam's words.
func (s Session) Options() container.Options {
	return container.Options{
		Image: s.Spec.Image, Cmd: s.Spec.Cmd, Env: s.Spec.Env, Binds: s.Spec.Binds,
		NetworkMode: s.Spec.NetworkMode, Labels: s.Spec.Labels, PortBindings: s.Spec.PortBindings,
		ProjectID: s.ProjectID, Origin: s.Origin, Tty: s.Spec.Tty, WorkingDir: s.Spec.WorkingDir,
		User:      s.Spec.User,
		Resources: container.Resources{CPUs: s.Spec.CPUs, Memory: s.Spec.Memory, PIDs: s.Spec.PIDs},
		Runtime:   s.Spec.Runtime, ReadOnly: s.Spec.ReadOnly, Tmpfs: s.Spec.Tmpfs, Platform: s.Spec.Platform,
		NoProgram: s.Spec.Agent == AgentOff,
	}
}

// Desired is what a user asked a session to be.
type Desired string

const (
	DesiredRunning Desired = "running"
	DesiredStopped Desired = "stopped"
	DesiredClosed  Desired = "closed"
)

// Operation is a change of a session that touches the engine.
type Operation string

const (
	OperationNone    Operation = ""
	OperationCreate  Operation = "create" // and start, where Desired is running
	OperationStart   Operation = "start"
	OperationStop    Operation = "stop"
	OperationRestart Operation = "restart" // stop, where it runs, and start
	OperationUpdate  Operation = "update"  // of the limits; see Session.Next
	OperationClose   Operation = "close"
)

// Expiry is what happens to a session past its idle or age limit.
type Expiry string

const (
	ExpiryStop  Expiry = "stop"
	ExpiryClose Expiry = "close"
)

// Agent says whether a session's commands may run through Octobot's agent in its container.
type Agent string

const (
	AgentAuto Agent = "auto" // where the daemon uses agents, and the container can have one
	AgentOff  Agent = "off"
)

// Exit is how a main process ended.
type Exit struct {
	Code      int
	OOMKilled bool
	Reason    string // the engine's words, or ours ("idle for 30m"); may be empty
	At        time.Time
}

// Failure is why a session failed.
type Failure struct {
	Code   Code   // container_lost, image_not_found, …
	Detail string // in words made for the user
	At     time.Time
}

// Status is what users see.
type Status string

const (
	StatusCreating Status = "creating" // its container is being made
	StatusCreated  Status = "created"  // made, never started
	StatusStarting Status = "starting"
	StatusRunning  Status = "running"
	StatusStopping Status = "stopping"
	StatusStopped  Status = "stopped" // ended by itself or by request; may be started
	StatusFailed   Status = "failed"  // see Failure; the container is gone or was never made
	StatusClosing  Status = "closing"
	StatusClosed   Status = "closed"  // removed; remembered for a while
	StatusUnknown  Status = "unknown" // the engine does not answer
)

// Statuses lists every status in the order of a session's life.
func Statuses() []Status {
	return []Status{StatusCreating, StatusCreated, StatusStarting, StatusRunning, StatusStopping,
		StatusStopped, StatusFailed, StatusClosing, StatusClosed, StatusUnknown}
}

// View is a session as users see it at one moment.
type View struct {
	Session
	Status Status
	// Reason says why it is so, in words: "exited with code 3", "paused"; may be empty.
	Reason  string
	Paused  bool             // its processes are frozen; only while it runs
	Address string           // of port 8080, "http://127.0.0.1:49153"; only while it runs
	Ports   []container.Port // published ports; only while it runs
	// Exec is the way that its commands take; only while it runs.
	Exec container.ExecPath
	// Warnings are of its creation alone: what an admin could do there and a project's token could
	// not.
	Warnings []string
}
