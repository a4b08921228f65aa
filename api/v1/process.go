package v1

import "time"

// Process is a command that was started in a session, and that nobody waits for.
type Process struct {
	ID       string     `json:"id"`
	Cmd      []string   `json:"cmd" nullable:"false" doc:"Cut where it is long."`
	PID      int        `json:"pid" doc:"In the container."`
	Started  time.Time  `json:"started_at"`
	Ended    *time.Time `json:"ended_at,omitempty"`
	Running  bool       `json:"running"`
	ExitCode *int       `json:"exit_code,omitempty" doc:"Where it has ended; 128+n if signal n killed it."`
	Position int64      `json:"position" doc:"How many bytes it has written so far, to stdout and stderr together."`
	Kept     int64      `json:"kept" doc:"How many of the last of them are kept."`
}

// ProcessList is the processes of a session, in the order of their start.
type ProcessList struct {
	Processes []Process `json:"processes" nullable:"false"`
}

// StartProcessRequest asks for a process.
type StartProcessRequest struct {
	Cmd        []string `json:"cmd" minItems:"1" doc:"Program and arguments."`
	Env        []string `json:"env,omitempty" doc:"NAME=value, on top of the session's."`
	WorkingDir string   `json:"working_dir,omitempty" doc:"Absolute; the session's without it."`
	User       string   `json:"user,omitempty" doc:"name, uid, name:group or uid:gid; the session's without it."`
	Keep       int64    `json:"keep,omitempty" minimum:"0" maximum:"1073741824" doc:"How many bytes of its output are kept; 1 MiB without it. More than that is kept on the container's disk."`
}

// SignalRequest asks for a signal.
type SignalRequest struct {
	Signal string `json:"signal,omitempty" doc:"Name or number; TERM without it. KILL ends all its descendants." example:"TERM"`
}

// SignalSessionRequest asks for a signal to a session's main process.
type SignalSessionRequest struct {
	Signal string `json:"signal,omitempty" doc:"Name or number; KILL without it." example:"HUP"`
}

// ProcessOutput is the last event of a process's output.
type ProcessOutput struct {
	Process Process `json:"process" doc:"As it is then; its position is that of the byte after the last one sent."`
	Missed  int64   `json:"missed" doc:"So many bytes that were asked for are not kept any more."`
}
