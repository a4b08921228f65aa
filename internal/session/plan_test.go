package session

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// boxed makes a container of a session with the origin "g:1".
func boxed(id, status string) *container.Container {
	c := &container.Container{
		ID: "c-" + id, SessionID: id, Status: status, Detailed: true, CreatedAt: noon.Add(-time.Hour),
		Labels: map[string]string{container.LabelOrigin: "g:1"},
	}
	if status != container.StatusCreated {
		c.StartedAt = noon.Add(-time.Hour)
	}
	if status == container.StatusStopped {
		c.FinishedAt = noon.Add(-time.Minute)
	}
	return c
}

// sightings are what the engine can show of session "x".
func sightings() map[string]*container.Container {
	renamed := boxed("x", container.StatusRunning)
	renamed.Labels[container.LabelOrigin] = "h:1"
	twin := boxed("x", container.StatusRunning)
	twin.ID = "twin"
	return map[string]*container.Container{
		"none":         nil,
		"created":      boxed("x", container.StatusCreated),
		"running":      boxed("x", container.StatusRunning),
		"stopped":      boxed("x", container.StatusStopped),
		"other origin": renamed,
		"other ID":     twin,
	}
}

func recorded(pending Operation, desired Desired) Session {
	s := Session{
		ID: "x", Origin: "g:1", Version: 1, Desired: desired, Pending: pending,
		CreatedAt: noon.Add(-time.Hour), ActiveAt: noon.Add(-time.Hour),
	}
	if pending != OperationNone {
		s.PendingSince = noon.Add(-time.Second)
	}
	if pending != OperationCreate {
		s.ContainerID = "c-x"
		s.StartedAt = noon.Add(-time.Hour)
	}
	if pending == OperationNone && desired == DesiredStopped {
		s.Exit = &Exit{At: noon.Add(-time.Minute)}
	}
	return s
}

// TestDecide holds, for all that is desired and pending and that the engine can show, what is done.
func TestDecide(t *testing.T) {
	columns := []string{"none", "created", "running", "stopped", "other origin", "other ID"}
	const (
		keep, hold, create, start, stop = ActionKeep, ActionHold, ActionCreate, ActionStart, ActionStop
		cls, record, fail               = ActionClose, ActionRecord, ActionFail
	)
	lost := &Failure{Code: CodeContainerLost, Detail: "lost"}
	tests := []struct {
		name    string
		session Session
		want    [6]Action
	}{
		// Without a container, created, running, stopped, of another origin, of another ID.
		{"running", recorded("", DesiredRunning), [6]Action{fail, record, keep, record, hold, hold}},
		{"stopped", recorded("", DesiredStopped), [6]Action{fail, keep, record, keep, hold, hold}},
		{"create", recorded(OperationCreate, DesiredStopped), [6]Action{create, create, create, create, fail, create}},
		{"create and start", recorded(OperationCreate, DesiredRunning),
			[6]Action{create, create, create, create, fail, create}},
		{"start", recorded(OperationStart, DesiredRunning), [6]Action{fail, start, record, start, hold, hold}},
		{"stop", recorded(OperationStop, DesiredStopped), [6]Action{fail, record, stop, record, hold, hold}},
		{"update", recorded(OperationUpdate, DesiredRunning),
			[6]Action{fail, ActionUpdate, ActionUpdate, ActionUpdate, hold, hold}},
		{"restart", recorded(OperationRestart, DesiredRunning),
			[6]Action{fail, start, ActionRestart, start, hold, hold}},
		{"close", recorded(OperationClose, DesiredClosed), [6]Action{cls, cls, cls, cls, cls, cls}},
		{"failed", with(recorded("", DesiredStopped), func(s *Session) { s.Failure = lost }),
			[6]Action{keep, record, record, record, hold, hold}},
		{"closed", with(recorded("", DesiredClosed), func(s *Session) { s.ClosedAt = noon }),
			[6]Action{keep, keep, keep, keep, keep, keep}},
		{"never ended on record", with(recorded("", DesiredStopped), func(s *Session) { s.Exit = nil }),
			[6]Action{fail, keep, record, record, hold, hold}},
	}
	for _, tt := range tests {
		for i, column := range columns {
			t.Run(tt.name+"/"+column, func(t *testing.T) {
				got, reason := decideAction(tt.session, sightings()[column], moment{at: noon})
				if got != tt.want[i] {
					t.Errorf("got %s (%s), want %s", got, reason, tt.want[i])
				}
				if reason == "" {
					t.Error("there is no reason")
				}
			})
		}
	}
}

func with(s Session, change func(*Session)) Session {
	change(&s)
	return s
}

// TestRecordComesToRest checks that what is recorded of a container asks for nothing more.
func TestRecordComesToRest(t *testing.T) {
	for _, desired := range []Desired{DesiredRunning, DesiredStopped} {
		for _, pending := range []Operation{OperationNone, OperationStart, OperationStop} {
			for name, c := range sightings() {
				s := recorded(pending, desired)
				action, _ := decideAction(s, c, moment{at: noon})
				if action != ActionRecord {
					continue
				}
				t.Run(fmt.Sprintf("%s %s %s", desired, pending, name), func(t *testing.T) {
					if action, reason := decideAction(withObserved(s, c, ""), c,
						moment{at: noon}); action != ActionKeep {
						t.Errorf("then %s (%s)", action, reason)
					}
				})
			}
		}
	}
}

func TestLimits(t *testing.T) {
	tests := []struct {
		name  string
		spec  Spec
		used  time.Duration // before noon; 0: not in this process
		seen  string
		wants Action
	}{
		{"none", Spec{}, 0, "running", ActionKeep},
		{"idle", Spec{IdleTimeout: 30 * time.Minute}, 0, "running", ActionExpire},
		{"idle to the moment", Spec{IdleTimeout: time.Hour}, 0, "running", ActionExpire},
		{"not idle yet", Spec{IdleTimeout: time.Hour + 1}, 0, "running", ActionKeep},
		{"used meanwhile", Spec{IdleTimeout: 30 * time.Minute}, time.Minute, "running", ActionKeep},
		{"idle, but stopped", Spec{IdleTimeout: time.Minute, OnExpire: ExpiryClose}, 0, "stopped", ActionKeep},
		{"old", Spec{MaxAge: time.Hour}, time.Second, "running", ActionExpire},
		{"old, and stopped", Spec{MaxAge: time.Hour, OnExpire: ExpiryStop}, 0, "stopped", ActionKeep},
		{"old, stopped, to be closed", Spec{MaxAge: time.Hour, OnExpire: ExpiryClose}, 0, "stopped", ActionExpire},
		{"young", Spec{MaxAge: time.Hour + 1}, 0, "running", ActionKeep},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := recorded("", DesiredRunning)
			if tt.seen == "stopped" {
				s = recorded("", DesiredStopped)
			}
			s.Spec = tt.spec
			var used time.Time
			if tt.used > 0 {
				used = noon.Add(-tt.used)
			}
			if got, reason := decideAction(s, sightings()[tt.seen], moment{at: noon, used: used}); got != tt.wants {
				t.Errorf("got %s (%s), want %s", got, reason, tt.wants)
			}
		})
	}
	t.Run("failed and old", func(t *testing.T) {
		s := recorded("", DesiredStopped)
		s.Failure = &Failure{Code: CodeContainerLost}
		s.Spec = Spec{MaxAge: time.Minute, OnExpire: ExpiryClose}
		if got, _ := decideAction(s, nil, moment{at: noon}); got != ActionExpire {
			t.Errorf("got %s", got)
		}
	})
}

// TestStrays walks the conditions under which a container is removed, leaving out one at a time.
func TestStrays(t *testing.T) {
	closed := with(recorded("", DesiredClosed), func(s *Session) { s.ClosedAt = noon.Add(-time.Second) })
	newer := with(closed, func(s *Session) { s.Origin = "g:2" })
	tests := []struct {
		name     string
		sessions []Session
		allotted bool
		seen     bool
		age      time.Duration
		allow    bool
		want     Action
	}{
		{"unknown, and all is well", nil, true, true, time.Hour, false, ActionRemove},
		{"unknown, never recorded", nil, false, true, time.Hour, false, ActionHold},
		{"unknown, never recorded, allowed", nil, false, true, time.Hour, true, ActionRemove},
		{"unknown, first seen", nil, true, false, time.Hour, false, ActionHold},
		{"unknown, first seen, allowed", nil, true, false, time.Hour, true, ActionHold},
		{"unknown, young", nil, true, true, time.Second, false, ActionHold},
		{"unknown, young, allowed", nil, true, true, time.Second, true, ActionHold},
		{"unknown, from the future", nil, true, true, -time.Hour, false, ActionHold},
		{"closed", []Session{closed}, false, true, time.Hour, false, ActionRemove},
		{"closed, young", []Session{closed}, false, true, time.Second, false, ActionRemove},
		{"closed, first seen", []Session{closed}, false, false, time.Hour, false, ActionHold},
		{"another's of a closed ID, known", []Session{newer}, true, true, time.Hour, false, ActionRemove},
		{"another's of a closed ID, never recorded", []Session{newer}, false, true, time.Hour, false, ActionHold},
		{"of a running session", []Session{recorded("", DesiredRunning)}, true, true, time.Hour, true, ActionKeep},
		{"another's of a running session",
			[]Session{with(recorded("", DesiredRunning), func(s *Session) { s.Origin = "g:2" })}, true, true, time.Hour,
			true, ActionHold},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := boxed("x", container.StatusRunning)
			c.CreatedAt = noon.Add(-tt.age)
			w := world{
				at: noon, containers: []*container.Container{c}, sessions: tt.sessions,
				allotted: map[string]bool{"g:1": tt.allotted}, lastUse: func(string) time.Time { return time.Time{} },
			}
			fates, refused, stray := plan(w, memory{stray: map[string]bool{"c-x": tt.seen}},
				limits{grace: time.Minute, allow: tt.allow})
			last := fates[len(fates)-1]
			if last.Action != tt.want || last.ContainerID != "c-x" || refused {
				t.Errorf("got %+v, refused %t; want %s", last, refused, tt.want)
			}
			if unowned := last.version == 0; stray["c-x"] != unowned {
				t.Errorf("for the next pass: a stray is %t", stray["c-x"])
			}
		})
	}
}

func TestBreaker(t *testing.T) {
	tests := []struct {
		unknown, known int
		allow, refused bool
	}{
		{5, 0, false, false},
		{6, 0, false, true},
		{6, 0, true, false},
		{10, 90, false, false},
		{11, 89, false, true},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d of %d, allowed %t", tt.unknown, tt.unknown+tt.known, tt.allow), func(t *testing.T) {
			w := world{at: noon, allotted: map[string]bool{"g:1": true},
				lastUse: func(string) time.Time { return time.Time{} }}
			m := memory{stray: make(map[string]bool)}
			for i := range tt.unknown + tt.known {
				c := boxed(fmt.Sprintf("s%d", i), container.StatusRunning)
				w.containers = append(w.containers, c)
				if i >= tt.unknown {
					s := recorded("", DesiredRunning)
					s.ID, s.ContainerID = c.SessionID, c.ID
					w.sessions = append(w.sessions, s)
				}
				m.stray[c.ID] = true
			}
			fates, refused, _ := plan(w, m, limits{grace: time.Minute, allow: tt.allow})
			removals := 0
			for _, f := range fates {
				if f.Action == ActionRemove {
					removals++
				}
			}
			want := tt.unknown
			if tt.refused {
				want = 0
			}
			if refused != tt.refused || removals != want {
				t.Errorf("refused %t, %d removals; want %t, %d", refused, removals, tt.refused, want)
			}
		})
	}
}

// TestEverythingHasOneFate checks that no container and no session is left out or named twice.
func TestEverythingHasOneFate(t *testing.T) {
	var w world
	w.at, w.lastUse = noon, func(string) time.Time { return time.Time{} }
	for i, pending := range []Operation{OperationNone, OperationCreate, OperationStart, OperationStop,
		OperationRestart, OperationUpdate, OperationClose} {
		for name, c := range sightings() {
			id := fmt.Sprintf("%d-%s", i, name)
			desired := DesiredRunning
			if pending == OperationClose {
				desired = DesiredClosed
			}
			s := recorded(pending, desired)
			s.ID = id
			if s.ContainerID != "" {
				s.ContainerID += id
			}
			w.sessions = append(w.sessions, s)
			if c != nil {
				c.SessionID, c.ID = id, c.ID+id
				w.containers = append(w.containers, c)
			}
		}
	}
	w.containers = append(w.containers, boxed("stranger", container.StatusRunning))
	fates, _, _ := plan(w, memory{}, limits{})
	sessions, containers := make(map[string]int), make(map[string]int)
	for _, f := range fates {
		if f.version != 0 {
			sessions[f.SessionID]++
		}
		if f.ContainerID != "" {
			containers[f.ContainerID]++
		}
	}
	for _, s := range w.sessions {
		if sessions[s.ID] != 1 {
			t.Errorf("session %q has %d fates", s.ID, sessions[s.ID])
		}
	}
	for _, c := range w.containers {
		if containers[c.ID] != 1 {
			t.Errorf("container %q has %d fates", c.ID, containers[c.ID])
		}
	}
}

func TestTroubledSessionsGoLast(t *testing.T) {
	w := world{at: noon, lastUse: func(string) time.Time { return time.Time{} }}
	for _, id := range []string{"a", "b", "c"} {
		w.sessions = append(w.sessions, with(recorded(OperationClose, DesiredClosed), func(s *Session) { s.ID = id }))
	}
	fates, _, _ := plan(w, memory{troubled: map[string]bool{"a": true}}, limits{})
	var order []string
	for _, f := range fates {
		order = append(order, f.SessionID)
	}
	if want := []string{"b", "c", "a"}; !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
}
