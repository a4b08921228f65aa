package session

import (
	"cmp"
	"slices"
	"time"
)

// eventsKept is how many past events are kept, of all sessions together, while the service lives.
const eventsKept = 1024

// history is the last events. What one project does pushes no other's out, and shows in no other's:
// where there are too many, the oldest goes of the project that has the most.
type history struct {
	projects map[string]*projectHistory // none is empty
	kept     int                        // events of all of them
	added    uint64                     // events so far
	from     time.Time                  // all since are kept of the projects that are not here
}

type projectHistory struct {
	events []pastEvent // the oldest first
	from   time.Time   // all since are among them
}

type pastEvent struct {
	Event
	order uint64
}

func (h *history) add(e Event) {
	p := h.projects[e.ProjectID]
	if p == nil {
		if h.projects == nil {
			h.projects = make(map[string]*projectHistory)
		}
		p = &projectHistory{from: h.from}
		h.projects[e.ProjectID] = p
	}
	h.added++
	p.events = append(p.events, pastEvent{e, h.added})
	if h.kept++; h.kept > eventsKept {
		h.forgetOne()
	}
}

func (h *history) forgetOne() {
	var most *projectHistory
	for _, p := range h.projects {
		if most == nil || len(p.events) > len(most.events) ||
			len(p.events) == len(most.events) && p.events[0].order < most.events[0].order {
			most = p
		}
	}
	gone := most.events[0]
	most.events[0] = pastEvent{} // the array stays for a while
	most.events = most.events[1:]
	most.from = gone.Time.Add(1)
	h.kept--
	if len(most.events) == 0 {
		h.from = most.from
		delete(h.projects, gone.ProjectID)
	}
}

// keptFrom gives since when all events of a project are kept; empty: of all projects.
func (h *history) keptFrom(project string) time.Time {
	if p := h.projects[project]; p != nil && project != "" {
		return p.from
	}
	from := h.from
	if project == "" {
		for _, p := range h.projects {
			if p.from.After(from) {
				from = p.from
			}
		}
	}
	return from
}

// selected gives those that are, in the order in which they came.
func (h *history) selected(sel EventSelection) []Event {
	var found []pastEvent
	for _, p := range h.projects {
		for _, e := range p.events {
			if !e.Time.Before(sel.Since) && sel.has(e.Event) {
				found = append(found, e)
			}
		}
	}
	slices.SortFunc(found, func(a, b pastEvent) int { return cmp.Compare(a.order, b.order) })
	events := make([]Event, 0, len(found))
	for _, e := range found {
		events = append(events, e.Event)
	}
	return events
}
