package v1

import "time"

// Terminal is a terminal of a session that has a name, and lives on when nobody looks at it.
type Terminal struct {
	Name     string    `json:"name"`
	ID       string    `json:"id" doc:"Tells it from others that have had its name."`
	Cmd      []string  `json:"cmd" nullable:"false" doc:"What runs there; cut where it is long."`
	PID      int       `json:"pid" doc:"Of the command, in the container."`
	Rows     uint      `json:"rows"`
	Cols     uint      `json:"cols"`
	Viewers  int       `json:"viewers" doc:"How many look at it now."`
	Position int64     `json:"position" doc:"How many bytes it has written so far."`
	Created  time.Time `json:"created_at"`
	Active   time.Time `json:"active_at" doc:"When it was last typed at, or wrote something."`
	Running  bool      `json:"running"`
	ExitCode *int      `json:"exit_code,omitempty" doc:"Where it has ended."`
	Made     bool      `json:"made,omitempty" doc:"By this request."`
}

// TerminalList is the terminals of a session, in the order of their making.
type TerminalList struct {
	Terminals []Terminal `json:"terminals" nullable:"false"`
}

// CreateTerminalRequest asks for a terminal.
type CreateTerminalRequest struct {
	Name       string   `json:"name" doc:"Has a session ID's form." example:"main"`
	Cmd        []string `json:"cmd,omitempty" doc:"Program and arguments; the user's shell without it."`
	Env        []string `json:"env,omitempty" doc:"NAME=value, on top of the session's."`
	WorkingDir string   `json:"working_dir,omitempty" doc:"Absolute; the session's without it."`
	User       string   `json:"user,omitempty" doc:"name, uid, name:group or uid:gid; the session's without it."`
	Rows       uint16   `json:"rows,omitempty" doc:"Both rows and cols, or neither."`
	Cols       uint16   `json:"cols,omitempty"`
}
