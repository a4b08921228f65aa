package session

import (
	"fmt"
	"slices"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Action is what reconciliation does with a session or with a container.
type Action string

const (
	ActionKeep    Action = "keep"    // all is as recorded
	ActionHold    Action = "hold"    // not as it should be, and not ours to touch
	ActionCreate  Action = "create"  // finish creating it
	ActionStart   Action = "start"   // finish starting it
	ActionStop    Action = "stop"    // finish stopping it
	ActionRestart Action = "restart" // finish restarting it
	ActionUpdate  Action = "update"  // finish changing its limits
	ActionClose   Action = "close"   // finish closing it
	ActionRecord  Action = "record"  // write what the container shows
	ActionFail    Action = "fail"    // record that the session failed
	ActionExpire  Action = "expire"  // past a limit: stop, and close where that is asked for
	ActionRemove  Action = "remove"  // remove the container
	ActionSkip    Action = "skip"    // it changed, or was being worked on; the next pass sees to it
)

// Fate is what a pass does with a session, or with a container that no session owns, and why.
type Fate struct {
	SessionID   string
	ContainerID string // empty: there is none
	Instance    string // of another installation, whose container it is; empty: this one's
	Action      Action
	Reason      string
	Closed      bool // it is about a closed session
}

// planned is a fate and what it was decided upon.
type planned struct {
	Fate
	version int64 // of the session's record; 0: it is about the container alone
	expires bool  // the session is past a limit, whatever is done about it now
	unknown bool  // the store does not know the container's session
}

// world is what a pass saw.
type world struct {
	at         time.Time
	containers []*container.Container
	sessions   []Session
	allotted   map[string]bool // by origin, of containers that no session owns
	// lastUse gives when a session was last used, as far as this process knows.
	lastUse func(id string) time.Time
	timeline
	expiring map[string]bool // by session: the look before saw it past a limit
}

// memory is what a pass knows of the one before it.
type memory struct {
	// stray holds the IDs of the containers that should not be there.
	stray map[string]bool
	// troubled holds the IDs of the sessions that something went wrong with.
	troubled map[string]bool
	// held is how many were held.
	held int
}

// limits bound what a pass may remove.
type limits struct {
	grace time.Duration
	allow bool // a person allowed what the store can't confirm, and any number
}

// plan compares sessions and containers. It gives the fate of every session, those last that
// something went wrong with in the pass before, then that of every container that no session owns;
// refused tells that the removals of unknown containers were too many and are held instead; stray
// is for the next pass's memory.
func plan(w world, m memory, l limits) (fates []planned, refused bool, stray map[string]bool) {
	byID := bySession(w.containers)
	fates = make([]planned, 0, len(w.sessions))
	owners := make(map[string]*Session, len(w.sessions))
	owned := make(map[string]bool, len(w.containers)) // by the container's ID
	for i := range w.sessions {
		s := &w.sessions[i]
		owners[s.ID] = s
		c := pickContainer(*s, byID[s.ID])
		if c != nil {
			owned[c.ID] = true
		}
		m := moment{at: w.at, used: w.lastUse(s.ID), timeline: w.timeline}
		fates = append(fates, planSession(*s, c, m, w.expiring[s.ID]))
	}
	if len(m.troubled) > 0 {
		slices.SortStableFunc(fates, func(a, b planned) int {
			return compareBool(m.troubled[a.SessionID], m.troubled[b.SessionID])
		})
	}

	stray = make(map[string]bool)
	removals := 0
	for _, c := range w.containers {
		if owned[c.ID] {
			continue
		}
		s := owners[c.SessionID]
		p := planOne(s, c, w, m, l)
		stray[c.ID] = s == nil || !s.ClosedAt.IsZero()
		if p.Action == ActionRemove && p.unknown {
			removals++
		}
		fates = append(fates, p)
	}
	if removals > max(5, len(w.containers)/10) && !l.allow {
		refused = true
		for i, p := range fates {
			if p.Action == ActionRemove && p.unknown {
				fates[i].Action = ActionHold
				fates[i].Reason = fmt.Sprintf("%s; but it is one of %d of %d containers to be removed, which is too many to be right", p.Reason, removals, len(w.containers))
			}
		}
	}
	return fates, refused, stray
}

// planSession gives the fate of a session. c is its container, or one of its name, or nil; expiring
// tells that the look before this one saw the session past a limit too.
func planSession(s Session, c *container.Container, m moment, expiring bool) planned {
	p := planned{Fate: Fate{SessionID: s.ID, Closed: !s.ClosedAt.IsZero()}, version: s.Version}
	p.Action, p.Reason = decideAction(s, c, m)
	if p.expires = p.Action == ActionExpire; p.expires && !expiring {
		p.Action = ActionKeep
		p.Reason += "; it ends if the next look sees the same"
	}
	if c != nil {
		p.ContainerID = c.ID
	}
	return p
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// bySession gives the containers by the session that they name.
func bySession(containers []*container.Container) map[string][]*container.Container {
	byID := make(map[string][]*container.Container, len(containers))
	for _, c := range containers {
		byID[c.SessionID] = append(byID[c.SessionID], c)
	}
	return byID
}

// pickContainer chooses among the containers that name the session: its own where that is there,
// else one that keeps it from having its own. A closed session has none, and one that is being
// closed cares for its own alone.
func pickContainer(s Session, containers []*container.Container) *container.Container {
	if len(containers) == 0 || !s.ClosedAt.IsZero() {
		return nil
	}
	mine := ownsContainer
	if s.Desired == DesiredClosed {
		mine = sameOrigin
	}
	if i := slices.IndexFunc(containers, func(c *container.Container) bool { return mine(s, c) }); i >= 0 {
		return containers[i]
	}
	if s.Desired == DesiredClosed {
		return nil
	}
	return containers[0]
}

// decideAction gives what is to be done about a session. c is its container, or one of its name, or
// nil.
func decideAction(s Session, c *container.Container, m moment) (Action, string) {
	running := c != nil && c.Status == container.StatusRunning
	switch {
	case !s.ClosedAt.IsZero():
		return ActionKeep, "it is closed"
	case s.Desired == DesiredClosed:
		return ActionClose, "it was to be closed"
	case s.Pending == OperationCreate && c != nil && !ownsContainer(s, c):
		return ActionFail, reasonForeign
	case s.Pending == OperationCreate:
		return ActionCreate, "its creation was interrupted"
	case c == nil && s.Failure != nil && s.Pending == OperationNone:
		if pastMaxAge(s, m) && s.Spec.OnExpire == ExpiryClose {
			return ActionExpire, maxAgeReason(s)
		}
		return ActionKeep, "it has failed: " + s.Failure.Detail
	case c == nil:
		return ActionFail, reasonLost
	case !ownsContainer(s, c):
		return ActionHold, reasonForeign
	case s.Pending == OperationStop && running:
		return ActionStop, "its stop was interrupted"
	case s.Pending == OperationRestart && running:
		return ActionRestart, "its restart was interrupted"
	case (s.Pending == OperationStart || s.Pending == OperationRestart) && !running,
		s.Pending == OperationStart && c.Paused:
		return ActionStart, "its " + string(s.Pending) + " was interrupted"
	case s.Pending == OperationUpdate:
		return ActionUpdate, "its update was interrupted"
	case s.Pending != OperationNone:
		return ActionRecord, "the outcome of its " + string(s.Pending) + " was not recorded"
	case s.Failure != nil:
		return ActionRecord, "its container is there again"
	}
	if reason := expiryReason(s, running, m); reason != "" {
		return ActionExpire, reason
	}
	switch {
	case running && s.Desired != DesiredRunning:
		return ActionRecord, "it was started by somebody else"
	case !running && s.Desired == DesiredRunning:
		return ActionRecord, "it ended by itself"
	case c.Status == container.StatusStopped && s.Exit == nil:
		return ActionRecord, "its end was not recorded"
	}
	return ActionKeep, "it is as recorded"
}

// expiryReason tells which limit a session with a container is past, in words; empty: none.
func expiryReason(s Session, running bool, m moment) string {
	if pastMaxAge(s, m) && (running || s.Spec.OnExpire == ExpiryClose) {
		return maxAgeReason(s)
	}
	if running && s.Spec.IdleTimeout > 0 && m.idleFor(s.ActiveAt) >= s.Spec.IdleTimeout {
		return fmt.Sprintf("idle for %v", s.Spec.IdleTimeout)
	}
	return ""
}

func pastMaxAge(s Session, m moment) bool {
	return s.Spec.MaxAge > 0 && m.untilOld(s.CreatedAt, s.Spec.MaxAge) <= 0
}

func maxAgeReason(s Session) string { return fmt.Sprintf("older than %v", s.Spec.MaxAge) }

// planOne gives the fate of a container that no unclosed session owns. s is the session that it
// names, or nil.
func planOne(s *Session, c *container.Container, w world, m memory, l limits) planned {
	p := planned{Fate: Fate{SessionID: c.SessionID, ContainerID: c.ID, Action: ActionHold}}
	origin := c.Labels[container.LabelOrigin]
	switch {
	case s != nil && s.ClosedAt.IsZero():
		p.Reason = reasonForeign
		return p
	case s != nil && sameOrigin(*s, c):
		p.Reason = "its session is closed"
	case s != nil:
		p.unknown, p.Reason = true, "it was made for an earlier session of its ID, which the store does not know"
	default:
		p.unknown, p.Reason = true, "the store does not know its session"
	}
	age := w.at.Sub(c.CreatedAt)
	switch {
	case p.unknown && !w.allotted[origin] && !l.allow:
		p.Reason += ", and has never recorded it: is the store empty, restored from a backup, or another's?"
	case p.unknown && age < l.grace:
		p.Reason += fmt.Sprintf("; it is younger than %v", l.grace)
	case !m.stray[c.ID]:
		p.Reason += "; it goes if the next pass sees the same"
	default:
		p.Action = ActionRemove
	}
	return p
}

// sessionsNotListed gives the origins that have to be asked about before plan.
func sessionsNotListed(containers []*container.Container, sessions []Session) []string {
	known := make(map[string]bool, len(sessions))
	for _, s := range sessions {
		known[s.Origin] = true
	}
	var origins []string
	for _, c := range containers {
		if origin := c.Labels[container.LabelOrigin]; origin != "" && !known[origin] {
			known[origin] = true
			origins = append(origins, origin)
		}
	}
	return origins
}
