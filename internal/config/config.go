// Package config holds what an installation of Octobot can be told, where it is read from, and what
// is allowed.
//
// A flag wins over an OCTOBOT_* variable, that over the YAML file, that over the
// default. One table, [Settings], holds every setting: it makes the flags, names the
// variables, reads the file and writes the documentation.
package config

import (
	"path/filepath"
	"time"
)

// Config is the whole configuration of a daemon. [Default] gives the values of
// what nobody set; a provider takes a zero value too.
type Config struct {
	DataDir string // holds octobot.sock and octobot.db
	// Instance is the installation's ID. It comes from the store, never from a
	// flag or a file; empty means "default".
	Instance string

	Runtime   string // one of Runtimes
	Agent     string // auto, off
	Docker    Docker
	Defaults  Defaults
	BindRoots []string // host directories below which the API may bind-mount

	DatabaseURL string // PostgreSQL; empty for SQLite in DataDir

	Listen  string // TCP address, empty for none
	TLSCert string
	TLSKey  string
	// AllowedHosts are further Host and Origin names under which the API is reached.
	AllowedHosts []string

	AuditLog string // file of one line of JSON for each change and refusal; empty: none

	LogLevel  string // debug, info, warn, error
	LogFormat string // text, json

	Reconcile Reconcile
	Limits    Limits
	Policy    Policy
}

// Docker says how the Docker provider reaches and uses its engine.
type Docker struct {
	// Host is the engine's address; empty to look where the docker CLI and the well-known sockets
	// are.
	Host string
	// PublishAddress is the host address of published ports; empty for 127.0.0.1.
	PublishAddress string
	// Network is the network that sessions join; empty for those that the provider makes, without
	// traffic between containers.
	Network string
	// NetworkPool is the address space of the networks that the provider makes, as CIDRs of IPv4;
	// empty for the default.
	NetworkPool []string
	// LogMaxSize and LogMaxFiles cap each container's log; zero for 10 MiB and 3.
	LogMaxSize  int64
	LogMaxFiles int
}

// Defaults are what a session gets where it does not say otherwise.
type Defaults struct {
	Image   string  // octobot/session:latest
	CPUs    float64 // zero: no limit
	Memory  int64   // bytes; zero: no limit
	PIDs    int64   // zero: 4096
	Runtime string  // OCI runtime; empty: the engine's

	IdleTimeout time.Duration // zero: none
	MaxAge      time.Duration // zero: none
	OnExpire    string        // stop or close
}

// Reconcile says when sessions and containers are compared.
type Reconcile struct {
	Interval time.Duration // between passes
	Grace    time.Duration // how old an unknown container must be before it may be removed; see session.Config
	// Retention is how long closed sessions are remembered.
	Retention time.Duration
}

// Policy is what the holders of a project's token may ask for. Admins may ask for anything.
type Policy struct {
	Networks  []string // beside the default one and none; "*" is all
	Runtimes  []string // OCI runtimes beside the default one; "*" is all
	Images    []string // patterns; empty: all but those of registries at private addresses
	HostPorts []string // "8080", "8000-8999"; others are random

	// Of one session. Zero: the default's, and no maximum where that has none.
	MaxCPUs        float64
	MaxMemory      int64
	MaxPIDs        int64
	MaxIdleTimeout time.Duration
	MaxAge         time.Duration
	MaxSpec        int64 // bytes of what a session is made from; zero: 64 KiB

	// Of a project that has no quota of its own, all its sessions together. Zero: no limit, and of
	// streams 256.
	ProjectSessions int
	ProjectRunning  int
	ProjectCPUs     float64
	ProjectMemory   int64
	ProjectExecs    int
	ProjectStreams  int
}

// Limits bound what the daemon takes on.
type Limits struct {
	Creates     int           // creates and starts at once
	CallTimeout time.Duration // for one call to the engine, pulls and commands apart
	MaxBody     int64         // bytes of a request's body
	MaxExecTime time.Duration // of a command through the API; zero: none
	Shutdown    time.Duration // for the whole of an orderly shutdown
	// TerminalLinger is how long terminals live that nobody looks at.
	TerminalLinger time.Duration
	MaxRecording   int64 // bytes of a terminal's recording; zero: 64 MiB
	MaxRecordings  int64 // bytes of all recordings; zero: 1 GiB
}

// Default returns the configuration of an installation that was told nothing,
// but for DataDir.
func Default() Config {
	return Config{
		Runtime:   "docker",
		Agent:     "auto",
		Docker:    Docker{NetworkPool: []string{"10.213.0.0/16", "172.29.0.0/16"}},
		Defaults:  Defaults{Image: "octobot/session:latest", PIDs: 4096, OnExpire: "stop"},
		Listen:    "127.0.0.1:7080",
		LogLevel:  "info",
		LogFormat: "text",
		Reconcile: Reconcile{Interval: 30 * time.Second, Grace: 2 * time.Minute, Retention: 7 * 24 * time.Hour},
		Limits: Limits{Creates: 16, CallTimeout: 30 * time.Second, MaxBody: 8 << 20, Shutdown: 20 * time.Second,
			TerminalLinger: 24 * time.Hour, MaxRecording: 64 << 20, MaxRecordings: 1 << 30},
	}
}

// Socket is the path of the daemon's Unix socket.
func (c Config) Socket() string { return filepath.Join(c.DataDir, "octobot.sock") }

// Database is the path of the SQLite database.
func (c Config) Database() string { return filepath.Join(c.DataDir, "octobot.db") }
