package config

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
)

// Setting is one thing that an installation can be told.
type Setting struct {
	Key     string // in the YAML file: "log.level"
	Flag    string // "log-level"; the variable's name follows from it
	Usage   string // what it does, for the flag's help and the documentation
	Allowed string // which values there are
	List    bool   // takes several values: the flag repeated, a YAML list, commas in the variable
	Secret  bool   // never shown

	parse  func(c *Config, values []string) error
	format func(c *Config) string
}

// Env is the name of the setting's environment variable.
func (s Setting) Env() string {
	return "OCTOBOT_" + strings.ToUpper(strings.ReplaceAll(s.Flag, "-", "_"))
}

// Value gives the setting's value in c in the form in which it would be set; of a
// secret only whether there is one.
func (s Setting) Value(c Config) string {
	v := s.format(&c)
	if s.Secret && v != "" {
		return "(hidden)"
	}
	return v
}

const (
	allowedPath     = "an absolute path"
	allowedLimit    = "0 (none), or a duration of at least 1s such as 30m or 7d"
	allowedMaximum  = "0, or a duration of at least 1s such as 30m or 7d"
	allowedDuration = "a duration from 1s to 24h such as 30s"
	maxDuration     = 10 * 365 * 24 * time.Hour
)

// Runtimes are what sessions can run on, the default first.
var Runtimes = []string{"docker", "mock"}

// Settings returns every setting, in the order of the documentation.
func Settings() []Setting {
	return []Setting{
		text("data_dir", "data-dir", "directory of the socket, the database and the lock", allowedPath,
			func(c *Config) *string { return &c.DataDir }, absolute),
		choice("runtime", "runtime", "where sessions run", func(c *Config) *string { return &c.Runtime }, Runtimes...),
		choice("agent", "agent",
			"whether commands run through Octobot's agent, which new sessions get, in a millisecond instead of the engine's fifty",
			func(c *Config) *string { return &c.Agent }, "auto", "off"),
		text("docker.host", "docker-host",
			"the engine's address; empty to look in DOCKER_HOST, the docker CLI's context and the well-known sockets",
			"empty, unix:///path or tcp://host:port; of an engine behind ssh, the socket that ssh -NL forwards",
			func(c *Config) *string { return &c.Docker.Host }, engineURL),
		text("docker.publish_address", "docker-publish-address", "host address of published ports; empty for 127.0.0.1",
			"empty, or an IP address", func(c *Config) *string { return &c.Docker.PublishAddress }, ipAddress),
		text("docker.network", "docker-network",
			"network that sessions join; empty for one of each project's own, without traffic between sessions",
			"empty, or a network's name", func(c *Config) *string { return &c.Docker.Network }, word),
		list("docker.network_pool", "docker-network-pool",
			"address space of the networks that Octobot makes; what the engine or the host use of it is left out",
			"IPv4 networks of at most 24 bits of prefix, such as 10.213.0.0/16",
			func(c *Config) *[]string { return &c.Docker.NetworkPool }, networkRange),
		size("docker.log_max_size", "docker-log-max-size", "size of a container's log before it is rotated; 0 for 10m",
			64<<10,
			func(c *Config) *int64 { return &c.Docker.LogMaxSize }),
		count("docker.log_max_files", "docker-log-max-files", "rotated log files kept for a container; 0 for 3", 0,
			1000,
			func(c *Config) *int { return &c.Docker.LogMaxFiles }),
		text("defaults.image", "default-image", "image of sessions that name none",
			"an image reference such as debian:12",
			func(c *Config) *string { return &c.Defaults.Image }, image),
		cores("defaults.cpus", "default-cpus", "CPU cores of a session; 0 for no limit",
			func(c *Config) *float64 { return &c.Defaults.CPUs }),
		size("defaults.memory", "default-memory", "memory of a session; 0 for no limit", 6<<20,
			func(c *Config) *int64 { return &c.Defaults.Memory }),
		count("defaults.pids", "default-pids", "processes and threads of a session", 8, 4<<20,
			func(c *Config) *int64 { return &c.Defaults.PIDs }),
		text("defaults.runtime", "default-runtime",
			"OCI runtime of sessions, such as runsc or kata; empty for the engine's",
			"empty, or the name of an OCI runtime", func(c *Config) *string { return &c.Defaults.Runtime }, word),
		duration("defaults.idle_timeout", "idle-timeout", "how long a session may be idle", allowedLimit, 0,
			maxDuration,
			func(c *Config) *time.Duration { return &c.Defaults.IdleTimeout }),
		duration("defaults.max_age", "max-age", "how old a session may become", allowedLimit, 0, maxDuration,
			func(c *Config) *time.Duration { return &c.Defaults.MaxAge }),
		choice("defaults.on_expire", "on-expire", "what happens to a session past either limit",
			func(c *Config) *string { return &c.Defaults.OnExpire }, "stop", "close"),
		list("bind_roots", "bind-root",
			"host directory below which sessions may mount; without one they may mount none", "absolute paths",
			func(c *Config) *[]string { return &c.BindRoots }, absolute),
		secret(text("database_url", "database-url",
			"PostgreSQL database, for one daemon alone; empty for SQLite in the data directory",
			"empty, or postgres://user:password@host/database", func(c *Config) *string { return &c.DatabaseURL },
			databaseURL)),
		text("listen", "listen", "TCP address of the API; empty for none, port 0 for a free one",
			"empty, or host:port; other hosts than loopback need tls_cert and tls_key",
			func(c *Config) *string { return &c.Listen }, tcpAddress),
		text("tls_cert", "tls-cert", "PEM file of the TCP address's certificate", "empty, or an absolute path",
			func(c *Config) *string { return &c.TLSCert }, optional(absolute)),
		text("tls_key", "tls-key", "PEM file of its private key", "empty, or an absolute path",
			func(c *Config) *string { return &c.TLSKey }, optional(absolute)),
		list("allowed_hosts", "allowed-host", "further host name under which clients and browsers reach the API",
			"host names without a port, such as octobot.example.com",
			func(c *Config) *[]string { return &c.AllowedHosts }, hostName),
		text("audit_log", "audit-log", "file that gets a line of JSON for each change and each refusal; empty for none",
			"empty, or an absolute path", func(c *Config) *string { return &c.AuditLog }, optional(absolute)),
		choice("log.level", "log-level", "least severe messages to log", func(c *Config) *string { return &c.LogLevel },
			"debug", "info", "warn", "error"),
		choice("log.format", "log-format", "form of log messages", func(c *Config) *string { return &c.LogFormat },
			"text", "json"),
		duration("reconcile.interval", "reconcile-interval", "time between two comparisons of sessions with containers",
			allowedDuration, time.Second, 24*time.Hour,
			func(c *Config) *time.Duration { return &c.Reconcile.Interval }),
		duration("reconcile.grace", "reconcile-grace",
			"age below which an unknown container is left alone, and for how long from the daemon's start sessions "+
				"that grew too old without it",
			allowedDuration, time.Second, 24*time.Hour,
			func(c *Config) *time.Duration { return &c.Reconcile.Grace }),
		duration("reconcile.retention", "reconcile-retention", "how long closed sessions are remembered",
			"a duration of at least 1s such as 7d", time.Second, maxDuration,
			func(c *Config) *time.Duration { return &c.Reconcile.Retention }),
		count("limits.creates", "max-creates", "sessions created or started at once", 1, 1024,
			func(c *Config) *int { return &c.Limits.Creates }),
		duration("limits.call_timeout", "call-timeout", "time for one call to the engine, pulls and commands apart",
			allowedDuration, time.Second, 24*time.Hour,
			func(c *Config) *time.Duration { return &c.Limits.CallTimeout }),
		size("limits.max_body", "max-body", "size of a request's body; 0 for 8m", 1<<10,
			func(c *Config) *int64 { return &c.Limits.MaxBody }),
		duration("limits.max_exec_time", "max-exec-time",
			"how long a command through the API may run; not those of terminals that have names, and of exec -d",
			allowedLimit, 0,
			maxDuration,
			func(c *Config) *time.Duration { return &c.Limits.MaxExecTime }),
		duration("limits.terminal_linger", "terminal-linger", "how long a terminal lives that nobody looks at",
			"a duration from 1s to 365d such as 24h", time.Second, 365*24*time.Hour,
			func(c *Config) *time.Duration { return &c.Limits.TerminalLinger }),
		size("limits.max_recording", "max-recording", "size of one terminal's recording; 0 for 64m", 64<<10,
			func(c *Config) *int64 { return &c.Limits.MaxRecording }),
		size("limits.max_recordings", "max-recordings",
			"size of all recordings, of which the oldest that have ended make room for others; 0 for 1g", 64<<10,
			func(c *Config) *int64 { return &c.Limits.MaxRecordings }),
		duration("limits.shutdown", "shutdown-timeout", "time for an orderly shutdown", allowedDuration, time.Second,
			24*time.Hour,
			func(c *Config) *time.Duration { return &c.Limits.Shutdown }),
		list("policy.networks", "policy-network",
			"network that projects' sessions may join, beside the default one and none",
			"names of networks of the engine, or *", func(c *Config) *[]string { return &c.Policy.Networks }, word),
		list("policy.runtimes", "policy-runtime", "OCI runtime that projects may choose, beside the default one",
			"names of OCI runtimes, or *", func(c *Config) *[]string { return &c.Policy.Runtimes }, word),
		list("policy.images", "policy-image",
			"image that projects may use, beside the default one; without one all but those of registries at private addresses",
			"names of images, with or without a tag, in which * stands for any text, such as debian or ghcr.io/acme/*",
			func(c *Config) *[]string { return &c.Policy.Images }, word),
		list("policy.host_ports", "policy-host-port",
			"host ports that projects may choose for a session; without any their ports are random ones",
			"ports and ranges such as 8000-8999", func(c *Config) *[]string { return &c.Policy.HostPorts }, portRange),
		cores("policy.max_cpus", "policy-max-cpus",
			"CPU cores that a project's session may have; 0 for the default's",
			func(c *Config) *float64 { return &c.Policy.MaxCPUs }),
		size("policy.max_memory", "policy-max-memory",
			"memory that a project's session may have; 0 for the default's", 6<<20,
			func(c *Config) *int64 { return &c.Policy.MaxMemory }),
		count("policy.max_pids", "policy-max-pids",
			"processes that a project's session may have; 0 for the default's", 0, 4<<20,
			func(c *Config) *int64 { return &c.Policy.MaxPIDs }),
		duration("policy.max_idle_timeout", "policy-max-idle-timeout",
			"how long a project's session may be idle; 0 for the default's", allowedMaximum, 0, maxDuration,
			func(c *Config) *time.Duration { return &c.Policy.MaxIdleTimeout }),
		duration("policy.max_age", "policy-max-age",
			"how old a project's session may become; 0 for the default's", allowedMaximum, 0, maxDuration,
			func(c *Config) *time.Duration { return &c.Policy.MaxAge }),
		size("policy.max_spec", "policy-max-spec",
			"size of what a project's session is made from, its environment above all; 0 for 64k", 1<<10,
			func(c *Config) *int64 { return &c.Policy.MaxSpec }),
		count("policy.project_sessions", "policy-project-sessions", "sessions of a project; 0 for no limit", 0, 1<<20,
			func(c *Config) *int { return &c.Policy.ProjectSessions }),
		count("policy.project_running", "policy-project-running", "running sessions of a project; 0 for no limit", 0,
			1<<20,
			func(c *Config) *int { return &c.Policy.ProjectRunning }),
		cores("policy.project_cpus", "policy-project-cpus",
			"CPU cores of a project's running sessions together; 0 for no limit",
			func(c *Config) *float64 { return &c.Policy.ProjectCPUs }),
		size("policy.project_memory", "policy-project-memory",
			"memory of a project's running sessions together; 0 for no limit", 6<<20,
			func(c *Config) *int64 { return &c.Policy.ProjectMemory }),
		count("policy.project_execs", "policy-project-execs", "commands of a project under way; 0 for no limit", 0,
			1<<20,
			func(c *Config) *int { return &c.Policy.ProjectExecs }),
		count("policy.project_streams", "policy-project-streams",
			"commands, terminals and logs that a project's callers have open, as many event streams, "+
				"and four times as many connections to ports; 0 for 256", 0, 1024,
			func(c *Config) *int { return &c.Policy.ProjectStreams }),
	}
}

func secret(s Setting) Setting {
	s.Secret = true
	return s
}

// What follows checks single values; what a check refuses, the setting's Allowed explains.

func optional(check func(string) bool) func(string) bool {
	return func(s string) bool { return s == "" || check(s) }
}

func absolute(s string) bool { return filepath.IsAbs(s) && !strings.ContainsRune(s, 0) }

// word accepts what the engines accept as a name; they check it in full.
func word(s string) bool {
	return len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func image(s string) bool {
	_, err := reference.ParseNormalizedNamed(s)
	return err == nil
}

func portRange(s string) bool {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	low, err := strconv.ParseUint(first, 10, 16)
	high, err2 := strconv.ParseUint(last, 10, 16)
	return err == nil && err2 == nil && 0 < low && low <= high
}

func ipAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return s == "" || err == nil
}

func networkRange(s string) bool {
	p, err := netip.ParsePrefix(s)
	return err == nil && p.Addr().Is4() && p.Bits() >= 8 && p.Bits() <= 24 && p == p.Masked()
}

func engineURL(s string) bool {
	if s == "" {
		return true
	}
	scheme, rest, ok := strings.Cut(s, "://")
	return ok && rest != "" && (scheme == "unix" || scheme == "tcp")
}

func databaseURL(s string) bool {
	if s == "" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql")
}

func tcpAddress(s string) bool {
	if s == "" {
		return true
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || strings.ContainsAny(host, " /") {
		return false
	}
	_, err = net.LookupPort("tcp", port)
	return err == nil && port != ""
}

func hostName(s string) bool {
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune("/@?#*:", r)
	})
}
