package process

import (
	"fmt"
	"syscall"
)

// SignalTree sends a signal to it and every descendant, found as Kill finds them: also those that
// it has left behind. One that is made meanwhile may be missed.
func (p *Process) SignalTree(sig syscall.Signal) error {
	h := p.hunt()
	all, err := h.scan()
	if err != nil {
		return fmt.Errorf("signal %d to process %d and its descendants: %w", sig, p.pid, err)
	}
	for _, e := range all {
		h.signal(e, sig)
	}
	return nil
}
