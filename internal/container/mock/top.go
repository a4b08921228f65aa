package mock

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Top implements [container.Topper]. Scripted processes use neither CPU time nor memory.
func (m *MockProvider) Top(ctx context.Context, sessionID string) (*container.Top, error) {
	var top *container.Top
	err := m.sessionCall(ctx, "top", sessionID, nil, func(context.Context) error {
		m.engine.mu.Lock()
		defer m.engine.mu.Unlock()
		b, err := m.own(sessionID)
		if err != nil {
			return err
		}
		if b.system == nil {
			return refuse(container.ErrContainerStopped, "")
		}
		top = &container.Top{}
		for _, p := range b.system.Running() {
			top.Processes = append(top.Processes, container.RunningProcess{PID: p.PID, Parent: p.Parent,
				User: cmp.Or(p.User, "root"), Elapsed: time.Since(p.Started), Cmd: strings.Join(p.Args, " ")})
		}
		return nil
	})
	return top, err
}
