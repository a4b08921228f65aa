package v1

// Top is what runs in a session at one moment.
type Top struct {
	Processes []RunningProcess `json:"processes" nullable:"false" doc:"All of them, whoever started them, ordered by PID."`
	HostPIDs  bool             `json:"host_pids,omitempty" doc:"The PIDs, and users that are numbers, are those of the engine's host, not those that the session sees."`
}

// RunningProcess is a process of a session, whoever started it.
type RunningProcess struct {
	PID     int      `json:"pid"`
	Parent  int      `json:"parent" doc:"PID of its parent; 0 where that is not told, or is outside the session."`
	User    string   `json:"user" doc:"Name or number."`
	CPUTime Duration `json:"cpu_time" doc:"CPU time used."`
	Elapsed Duration `json:"elapsed" doc:"Since it was started."`
	Memory  int64    `json:"memory" doc:"Resident, in bytes."`
	Cmd     string   `json:"cmd" doc:"The command line, as ps shows it."`
}
