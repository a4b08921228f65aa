package mock

import (
	"cmp"
	"context"
	"slices"

	"github.com/octobot-run/octobot/internal/container"
)

// Origin implements [container.OriginReader].
func (m *MockProvider) Origin(ctx context.Context, sessionID string) (string, error) {
	origin := ""
	err := m.sessionCall(ctx, "origin", sessionID, nil, func(context.Context) error {
		m.engine.mu.Lock()
		defer m.engine.mu.Unlock()
		b, err := m.own(sessionID)
		if err == nil {
			origin = b.c.Labels[container.LabelOrigin]
		}
		return err
	})
	return origin, err
}

// ListStrangers implements [container.StrangerKeeper].
func (m *MockProvider) ListStrangers(ctx context.Context) ([]*container.Container, error) {
	var list []*container.Container
	err := m.engineCall(ctx, "liststrangers", func(context.Context) error {
		m.engine.mu.Lock()
		defer m.engine.mu.Unlock()
		var boxes []*box
		for _, b := range m.engine.boxes {
			if m.isStranger(b) {
				boxes = append(boxes, b)
			}
		}
		slices.SortFunc(boxes, func(a, b *box) int { return cmp.Compare(a.serial, b.serial) })
		for _, b := range boxes {
			c := b.report()
			list = append(list, &c)
		}
		return nil
	})
	return list, err
}

func (m *MockProvider) isStranger(b *box) bool {
	return b.instance != "" && b.instance != m.instance && b.c.SessionID != ""
}

// RemoveStranger implements [container.StrangerKeeper].
func (m *MockProvider) RemoveStranger(ctx context.Context, instance, containerID string) error {
	return m.engineCall(ctx, "removestranger", func(ctx context.Context) error {
		return m.takeDown(ctx, func() (*box, error) {
			for _, b := range m.engine.boxes {
				if b.c.ID == containerID && b.instance == instance && m.isStranger(b) {
					return b, nil
				}
			}
			return nil, refuse(container.ErrContainerNotFound, "")
		})
	})
}
