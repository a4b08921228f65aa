package mock

import (
	"context"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

// Signal implements [container.Signaler].
func (m *MockProvider) Signal(ctx context.Context, sessionID string, signal int) error {
	check := func() error { return container.ValidateSignal(signal) }
	return m.sessionCall(ctx, "signal", sessionID, check, func(ctx context.Context) error {
		system, err := m.running(sessionID)
		if err != nil {
			return err
		}
		system.Main().Signal(toybox.Signal(signal))
		if toybox.Signal(signal) != toybox.SIGKILL {
			return nil
		}
		select {
		case <-system.Done():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}
