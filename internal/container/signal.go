package container

import (
	"context"
	"strconv"
	"strings"
)

// Signaler sends signals to main processes.
type Signaler interface {
	// Signal sends the container's main process a signal, by its number, and returns when it was
	// sent; with SIGKILL, when the process has ended. A main process is the first of its PID
	// namespace, for which the kernel drops what it does not handle, but for SIGKILL. One that does
	// not run gives [ErrContainerStopped], a paused one [ErrContainerPaused]. It may be called amid
	// a Stop of the same container.
	Signal(ctx context.Context, sessionID string, signal int) error
}

// signals are Linux's, by their numbers on all architectures that matter here.
var signals = map[string]int{
	"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10,
	"SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CONT": 18, "STOP": 19,
	"TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26, "PROF": 27, "WINCH": 28,
	"IO": 29, "PWR": 30, "SYS": 31,
}

// maxSignal is the last of the real-time signals.
const maxSignal = 64

// ParseSignal reads a signal as kill does: TERM, SIGTERM, 15; an error is an [ErrInvalidArgument].
func ParseSignal(s string) (int, error) {
	if n, err := strconv.Atoi(s); err == nil {
		return n, ValidateSignal(n)
	}
	if n, ok := signals[strings.TrimPrefix(strings.ToUpper(s), "SIG")]; ok {
		return n, nil
	}
	return 0, invalid("signal", "%s is no signal's name or number, such as TERM or 15", quote(s))
}

// ValidateSignal checks a signal's number.
func ValidateSignal(n int) error {
	if n < 1 || n > maxSignal {
		return invalid("signal", "must be between 1 and %d, not %d", maxSignal, n)
	}
	return nil
}
