package toybox

import "time"

// Running is a process as its container's outside sees it.
type Running struct {
	PID, Parent int
	User        string
	Started     time.Time
	Args        []string
}

// Running lists the processes there are, by PID.
func (s *System) Running() []Running {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Running, len(s.processes))
	for i, p := range s.processes {
		list[i] = Running{PID: p.PID, User: p.User, Started: p.started, Args: p.Args}
		if p != s.main {
			list[i].Parent = s.main.PID
		}
	}
	return list
}
