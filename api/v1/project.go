package v1

// Quota is what a project may have at once, all its sessions together. Absent means the server's
// policy for projects; 0 is no limit at all.
type Quota struct {
	MaxSessions *int     `json:"max_sessions,omitempty" minimum:"0" doc:"Sessions that are not closed."`
	MaxRunning  *int     `json:"max_running,omitempty" minimum:"0" doc:"Sessions that are to run."`
	MaxCPUs     *float64 `json:"max_cpus,omitempty" minimum:"0" doc:"Cores of the sessions that are to run."`
	MaxMemory   *int64   `json:"max_memory,omitempty" minimum:"0" doc:"Bytes of memory of the sessions that are to run."`
	MaxExecs    *int     `json:"max_execs,omitempty" minimum:"0" doc:"Commands under way."`
	MaxStreams  *int     `json:"max_streams,omitempty" minimum:"0" doc:"Commands, terminals and logs that callers have open; as many event streams may be open beside them, and four times as many connections to ports."`
}

// ProjectUse is how much of its quota a project has taken.
type ProjectUse struct {
	Sessions int     `json:"sessions"`
	Running  int     `json:"running"`
	CPUs     float64 `json:"cpus"`
	Memory   int64   `json:"memory"`
	Execs    int     `json:"execs"`
}

// Project is a project that has a quota of its own, a token or sessions.
type Project struct {
	Project string     `json:"project"`
	Quota   Quota      `json:"quota" doc:"The project's own; what is absent is as the server's policy says."`
	Limits  Quota      `json:"limits" doc:"What holds: its own quota, or the policy's. Absent: no limit."`
	Use     ProjectUse `json:"use"`
}

// ProjectList is the answer of GET /v1/projects.
type ProjectList struct {
	Projects []Project `json:"projects" nullable:"false"`
}
