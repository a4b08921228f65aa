package mock

import (
	"context"

	"github.com/octobot-run/octobot/internal/container"
)

// Update implements [container.Updater]. What is told of a container follows its limits; they are
// not enforced.
func (m *MockProvider) Update(ctx context.Context, sessionID string, limits container.Resources) error {
	return m.sessionCall(ctx, "update", sessionID, limits.Validate, func(context.Context) error {
		m.engine.mu.Lock()
		defer m.engine.mu.Unlock()
		b, err := m.own(sessionID)
		if err != nil {
			return err
		}
		now := &b.opts.Resources
		if limits.CPUs != 0 {
			now.CPUs = limits.CPUs
		}
		if limits.Memory != 0 {
			now.Memory = limits.Memory
		}
		if limits.PIDs != 0 {
			now.PIDs = limits.PIDs
		}
		return nil
	})
}
