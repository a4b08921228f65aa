package agented

import (
	"context"

	"github.com/octobot-run/octobot/internal/container"
)

var _ container.Updater = (*Runtime)(nil)

// Update implements [container.Updater]. Limits with no room for the agent are refused to a
// container that has it.
func (r *Runtime) Update(ctx context.Context, sessionID string, limits container.Resources) error {
	updater, ok := container.As[container.Updater](r.Runtime)
	if !ok {
		return container.Errorf("update", sessionID, container.ErrUnsupported, "")
	}
	if limits.Validate() == nil && !hasRoom(limits) {
		c, err := r.Runtime.Get(ctx, sessionID)
		if err != nil {
			return err
		}
		if c.Labels[container.LabelProgram] != "" {
			return container.Errorf("update", sessionID, container.ErrInvalidArgument,
				"a session with Octobot's agent has %d MiB of memory and %d processes at least; "+
					"one with less is created so, and gets none", leastMemory>>20, leastPIDs)
		}
	}
	return updater.Update(ctx, sessionID, limits)
}
