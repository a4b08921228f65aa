package v1

import "time"

// CreateTokenRequest is the body of POST /v1/tokens.
type CreateTokenRequest struct {
	Name    string   `json:"name" minLength:"1" doc:"Unique among tokens."`
	Project string   `json:"project,omitempty" doc:"The one project that the token reaches; absent for an admin's."`
	TTL     Duration `json:"ttl,omitzero" doc:"How long it is good for: 720h. Absent: for ever."`
}

// Token lets its bearer use the API. Its secret is shown once: in [CreatedToken].
type Token struct {
	Name      string     `json:"name"`
	Project   string     `json:"project,omitempty" doc:"Absent: it is an admin's."`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"Absent: never."`
}

// CreatedToken is a new token and its secret.
type CreatedToken struct {
	Token
	Secret string `json:"secret" doc:"Shown this once; the server keeps only its hash."`
}

// TokenList is all tokens by name.
type TokenList struct {
	Tokens []Token `json:"tokens" nullable:"false"`
}

// Info is what a server says of itself.
type Info struct {
	Version      string       `json:"version"`
	Instance     string       `json:"instance" doc:"ID of the installation, made when its store was."`
	Engine       *Engine      `json:"engine,omitempty" doc:"Absent where it does not answer."`
	Capabilities Capabilities `json:"capabilities"`
}

// Engine is what runs the containers.
type Engine struct {
	Name       string   `json:"name" doc:"docker, podman or mock."`
	Version    string   `json:"version"`
	APIVersion string   `json:"api_version,omitempty"`
	Host       string   `json:"host,omitempty" doc:"How the server reaches it; for admins."`
	OS         string   `json:"os,omitempty"`
	Arch       string   `json:"arch,omitempty"`
	Rootless   bool     `json:"rootless"`
	CgroupV2   bool     `json:"cgroup_v2"`
	Runtimes   []string `json:"runtimes,omitempty" nullable:"false" doc:"OCI runtimes."`
	Warnings   []string `json:"warnings,omitempty" nullable:"false" doc:"What limits sessions on this engine, one sentence each."`
}

// Capabilities are facts about the engine; see the fields of the same names in the
// server's container package.
type Capabilities struct {
	Ports             bool `json:"ports" doc:"Sessions publish ports."`
	KeepsFilesOnStop  bool `json:"keeps_files_on_stop" doc:"Files outlive a stop."`
	ReportsOOM        bool `json:"reports_oom" doc:"Exit.oom_killed is told."`
	EnforcesResources bool `json:"enforces_resources" doc:"Resources are enforced, not only accepted."`
	KillsExec         bool `json:"kills_exec" doc:"A cancelled command is killed with its children."`
	RealProcesses     bool `json:"real_processes" doc:"Commands are real programs; a mock's are scripted."`
}

// Diagnosis is the body of GET /v1/doctor.
type Diagnosis struct {
	Findings []Finding `json:"findings" nullable:"false"`
}

// Finding is one thing that a server has looked at of itself.
type Finding struct {
	What  string `json:"what" doc:"engine, for instance."`
	Grade string `json:"grade" doc:"ok; warning: it works, with limits; problem: it does not work."`
	Seen  string `json:"seen" doc:"What there is."`
	Do    string `json:"do,omitempty" doc:"What to do about it."`
}

// Health is the body of GET /healthz and /readyz.
type Health struct {
	Status string `json:"status" enum:"ok"`
}

// ReconcileReport is what a reconciliation found and did; with dry_run: would do.
type ReconcileReport struct {
	DryRun     bool   `json:"dry_run"`
	Sessions   int    `json:"sessions" doc:"Sessions that are not closed."`
	Containers int    `json:"containers" doc:"Containers of this installation on the engine."`
	Changed    int    `json:"changed" doc:"Sessions whose record was changed."`
	Removed    int    `json:"removed" doc:"Containers that were removed."`
	Held       int    `json:"held" doc:"Containers that nobody knows and that are left alone for now."`
	Failed     int    `json:"failed" doc:"What could not be done; the next reconciliation tries again."`
	Refused    bool   `json:"refused" doc:"Too many containers would have been removed as unknown, so none was. allow_removals lets it."`
	Fates      []Fate `json:"fates" nullable:"false"`
}

// Fate is what a reconciliation does with one session or container, and why.
type Fate struct {
	SessionID   string `json:"session_id"`
	ContainerID string `json:"container_id,omitempty"`
	Instance    string `json:"instance,omitempty" doc:"The other installation whose container it is; absent: this one's."`
	Action      string `json:"action"`
	Reason      string `json:"reason,omitempty"`
	Closed      bool   `json:"closed,omitzero" doc:"It is about a closed session."`
}
