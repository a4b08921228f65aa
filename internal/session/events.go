package session

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Kinds of events.
const (
	// EventCreated comes when the session is on record, and before its container is made: whatever
	// becomes of that comes after it.
	EventCreated = "session.created"
	EventStarted = "session.started"
	EventStopped = "session.stopped"
	EventFailed  = "session.failed"
	EventClosed  = "session.closed"
)

// Event is something that happened to a session.
type Event struct {
	Time      time.Time
	Kind      string // one of the Event… constants
	SessionID string
	ProjectID string
	Status    Status
	Reason    string // in words; may be empty
	Exit      *Exit  // how the main process ended; of EventStopped alone
}

// subscriptionQueue is how many events a subscriber may be behind.
const subscriptionQueue = 256

// hub passes events on to subscribers, and never waits for one.
type hub struct {
	mu          sync.Mutex
	subscribers map[*Subscription]struct{} // guarded by mu
	past        history                    // guarded by mu
}

// EventSelection selects events. The zero value is all that who asks reaches, from now on.
type EventSelection struct {
	ProjectID  string    // empty: every project
	SessionIDs []string  // none: every session
	Kinds      []string  // none: every kind
	Since      time.Time // past ones since then as well, as far as they are kept; zero: none
}

func (sel *EventSelection) has(e Event) bool {
	return (sel.ProjectID == "" || sel.ProjectID == e.ProjectID) &&
		(len(sel.SessionIDs) == 0 || slices.Contains(sel.SessionIDs, e.SessionID)) &&
		(len(sel.Kinds) == 0 || slices.Contains(sel.Kinds, e.Kind))
}

// Subscription receives events from the moment it was made.
type Subscription struct {
	hub        *hub
	selection  EventSelection
	past       []Event
	keptFrom   time.Time
	events     chan Event
	overflowed bool // guarded by hub.mu
}

// Subscribe returns a subscription to the events that are selected. The caller closes it. A project
// that who does not reach: forbidden.
func (s *ContainerService) Subscribe(who Principal, sel EventSelection) (*Subscription, error) {
	project, err := who.scope(sel.ProjectID)
	if err != nil {
		err := toError(context.Background(), "events", "", err)
		s.audit(who, "events", "", err)
		return nil, err
	}
	sel.ProjectID = project
	sub := &Subscription{hub: &s.hub, selection: sel, events: make(chan Event, subscriptionQueue)}
	h := &s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	sub.keptFrom = h.past.keptFrom(sel.ProjectID)
	if !sel.Since.IsZero() {
		sub.past = h.past.selected(sel)
	}
	if h.subscribers == nil {
		h.subscribers = make(map[*Subscription]struct{})
	}
	h.subscribers[sub] = struct{}{}
	return sub, nil
}

// Past returns the events before the first of C that were asked for and are kept.
func (s *Subscription) Past() []Event { return s.past }

// KeptFrom returns since when all events are kept, of the project where one was asked for: of those
// before that, some are not among Past.
func (s *Subscription) KeptFrom() time.Time { return s.keptFrom }

// C returns the channel of events. It is closed, behind the last event, by Close, or because
// the subscriber was too slow; see Overflowed.
func (s *Subscription) C() <-chan Event { return s.events }

// Overflowed reports whether the subscription was ended because its queue was full:
// events were missed, and the subscriber had better list sessions anew.
func (s *Subscription) Overflowed() bool {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.overflowed
}

// Close ends the subscription. It may be repeated.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.drop(s)
}

// drop ends a subscription; h.mu is held.
func (h *hub) drop(sub *Subscription) {
	if _, ok := h.subscribers[sub]; ok {
		delete(h.subscribers, sub)
		close(sub.events)
	}
}

func (h *hub) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.past.add(e)
	for sub := range h.subscribers {
		if !sub.selection.has(e) {
			continue
		}
		select {
		case sub.events <- e:
		default:
			sub.overflowed = true
			h.drop(sub)
		}
	}
}

// publishChange publishes what became of a session.
func (s *ContainerService) publishChange(kind string, sess Session, status Status, reason string) {
	e := Event{
		Time: now(), Kind: kind, SessionID: sess.ID, ProjectID: sess.ProjectID, Status: status, Reason: reason,
	}
	if kind == EventStopped {
		e.Exit = sess.Exit
	}
	s.hub.publish(e)
}
