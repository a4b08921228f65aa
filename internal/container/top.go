package container

import (
	"context"
	"time"
)

// RunningProcess is a process of a container, whoever started it.
type RunningProcess struct {
	PID, Parent int    // see [Top.HostPIDs]
	User        string // name or number
	CPUTime     time.Duration
	Elapsed     time.Duration // since it was started
	Memory      int64         // resident, in bytes
	Cmd         string        // its command line, as ps shows it
}

// Top is what runs in a container at one moment.
type Top struct {
	Processes []RunningProcess // ordered by PID
	// HostPIDs: the PIDs, and users that are numbers, are those of the engine's host, not those
	// that the container sees.
	HostPIDs bool
}

// Topper tells what runs in containers.
type Topper interface {
	// Top lists all processes of the container, our own among them. Not running:
	// [ErrContainerStopped]. Paused, and the engine does not look into it then:
	// [ErrContainerPaused]. An engine that can't: [ErrUnsupported].
	Top(ctx context.Context, sessionID string) (*Top, error)
}
