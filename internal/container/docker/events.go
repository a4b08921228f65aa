package docker

import (
	"context"
	"net/http"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// Watch subscribes to the engine's events about this instance's containers.
func (p *DockerProvider) Watch(ctx context.Context) (<-chan container.Event, error) {
	c, err := p.beginEngineCall(ctx, "watch")
	if err != nil {
		return nil, err
	}
	// Engines send the answer's headers before they subscribe. What happens in between is
	// replayed from the second, by the engine's clock, in which this call began.
	since, err := p.engineTime(c.Ctx)
	if err != nil {
		err = c.toError(err)
		c.Done()
		return nil, err
	}
	filters := p.ownLabels().Add("type", string(events.ContainerEventType))
	stream := p.client.Events(c.Ctx, client.EventsListOptions{Since: since.Format(time.RFC3339Nano), Filters: filters})
	select {
	case err := <-stream.Err:
		err = c.toError(err)
		c.Done()
		return nil, err
	default:
	}
	out := make(chan container.Event)
	go func() {
		defer c.Done()
		defer close(out)
		for {
			select {
			case <-stream.Err:
				return
			case message := <-stream.Messages:
				event, ok := p.event(message)
				if !ok {
					continue
				}
				select {
				case out <- event:
				case <-c.Ctx.Done():
					return
				}
			}
		}
	}()
	return out, nil
}

// engineTime is the engine's clock in whole seconds.
func (p *DockerProvider) engineTime(ctx context.Context) (time.Time, error) {
	header, err := p.get(ctx, p.pingURL(), nil)
	if err != nil {
		return time.Time{}, err
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return time.Now().Truncate(time.Second), nil
	}
	return now, nil
}

// event translates a message; ok is false for what is not told.
func (p *DockerProvider) event(m events.Message) (_ container.Event, ok bool) {
	kind, told := map[events.Action]string{
		events.ActionCreate: container.EventCreated,
		events.ActionStart:  container.EventStarted,
		events.ActionDie:    container.EventStopped,
		"died":              container.EventStopped, // Podman's
		events.ActionOOM:    container.EventOOM,
		// Docker's word for a container that was removed, and Podman's.
		events.ActionDestroy: container.EventRemoved,
		events.ActionRemove:  container.EventRemoved,
	}[m.Action]
	session := m.Actor.Attributes[container.LabelSession]
	// Podman sends what carries any of the labels that were asked for.
	if !told || session == "" || !p.ownsLabels(session, m.Actor.Attributes) {
		return container.Event{}, false
	}
	at := time.Unix(m.Time, 0)
	if m.TimeNano != 0 {
		at = time.Unix(0, m.TimeNano)
	}
	return container.Event{SessionID: session, ContainerID: m.Actor.ID, Kind: kind, Time: at}, true
}
