package storetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/session"
)

var originTests = map[string]func(*testing.T, Database){
	"allotted":               on(testAllotted),
	"each open counts anew":  testGenerations,
	"restored while closed":  testRestoredClosed,
	"restored under a store": testRestoredOpen,
	"restored under callers": testRestoredConcurrently,
	"emptied under a store":  testEmptied,
	"refused creates":        on(testRefusedCreates),
}

func wantAllotted(t *testing.T, s session.Store, origin string, want bool) {
	t.Helper()
	got, err := s.Allotted(t.Context(), origin)
	if err != nil {
		t.Errorf("allotted %q: %v", origin, err)
	}
	if got != want {
		t.Errorf("allotted %q is %v, want %v", origin, got, want)
	}
}

func generationOf(t *testing.T, sess session.Session) string {
	t.Helper()
	generation, _, ok := strings.Cut(sess.Origin, ":")
	if !ok || generation == "" {
		t.Fatalf("origin %q has no generation", sess.Origin)
	}
	return generation
}

func testAllotted(t *testing.T, s session.Store) {
	first := create(t, s, session.Session{ID: "a", CreatedAt: start})
	generation := generationOf(t, first)
	if first.Origin != generation+":1" {
		t.Errorf("the first origin is %q", first.Origin)
	}
	wantAllotted(t, s, generation+":1", true)
	wantAllotted(t, s, generation+":2", false)
	second := create(t, s, session.Session{ID: "b", CreatedAt: start, ClosedAt: start})
	wantAllotted(t, s, generation+":2", true)
	if n, err := s.PruneSessions(t.Context(), start.Add(time.Hour)); n != 1 || err != nil {
		t.Fatalf("pruned %d, %v", n, err)
	}
	wantAllotted(t, s, second.Origin, true) // given once is given

	flipped := strings.Map(func(r rune) rune {
		if r == '0' {
			return '1'
		}
		return '0'
	}, generation)
	for _, origin := range []string{
		"", ":", ":1", "1", generation, generation + ":", generation + ":0", generation + ":-1", generation + ":+1",
		generation + ":01", generation + ":1 ", " " + first.Origin, first.Origin + ":1", generation + "::1",
		generation + ":1x",
		generation + ":9223372036854775808", strings.ToUpper(generation) + "A:1", flipped + ":1", "' OR 1=1 --:1",
		"%:1",
	} {
		wantAllotted(t, s, origin, false)
	}
}

func testGenerations(t *testing.T, d Database) {
	var all []session.Session
	for i := range 3 {
		s, err := d.Open(t.Context(), d.DSN)
		if err != nil {
			t.Fatal(err)
		}
		got := create(t, s, session.Session{ID: string(rune('a' + i)), CreatedAt: start})
		for _, earlier := range all {
			wantAllotted(t, s, earlier.Origin, true)
			if generationOf(t, earlier) == generationOf(t, got) {
				t.Errorf("two openings share generation %s", generationOf(t, got))
			}
		}
		all = append(all, got)
		closeStore(t, s)
	}
}

func testRestoredClosed(t *testing.T, d Database) {
	s := d.open(t)
	kept := create(t, s, session.Session{ID: "kept", CreatedAt: start})
	closeStore(t, s)
	restore := d.Save(t)
	s = d.open(t)
	lost := create(t, s, session.Session{ID: "lost", CreatedAt: start})
	closeStore(t, s)
	restore()
	s = d.open(t)
	later := create(t, s, session.Session{ID: "lost", CreatedAt: start})
	wantAllotted(t, s, kept.Origin, true)
	wantAllotted(t, s, lost.Origin, false)
	wantAllotted(t, s, later.Origin, true)
}

// finishPending waits for a store whose connections a Save or a restore broke.
func finishPending(t *testing.T, s session.Store) {
	t.Helper()
	var err error
	for range 20 { // more than it has connections
		if err = s.Ping(t.Context()); err == nil {
			return
		}
	}
	t.Fatalf("the store does not recover: %v", err)
}

// A database put back in time under an open store must not give out what it
// gave out before, nor take what it has forgotten for its own.
func testRestoredOpen(t *testing.T, d Database) {
	s := d.open(t)
	kept := create(t, s, session.Session{ID: "kept", CreatedAt: start})
	restore := d.Save(t)
	finishPending(t, s)
	lost := []session.Session{
		create(t, s, session.Session{ID: "lost1", CreatedAt: start}),
		create(t, s, session.Session{ID: "lost2", CreatedAt: start}),
	}
	restore()
	finishPending(t, s)
	later := create(t, s, session.Session{ID: "later", CreatedAt: start})
	for _, sess := range lost {
		if later.Origin == sess.Origin {
			t.Errorf("origin %s was given twice", sess.Origin)
		}
		wantAllotted(t, s, sess.Origin, false)
	}
	wantAllotted(t, s, kept.Origin, true)
	wantAllotted(t, s, later.Origin, true)
	if next := create(t, s, session.Session{ID: "next", CreatedAt: start}); generationOf(t, next) != generationOf(t,
		later) {
		t.Errorf("origin %s does not follow %s", next.Origin, later.Origin)
	}
}

// Callers that find out together agree on one new generation.
func testRestoredConcurrently(t *testing.T, d Database) {
	s := d.open(t)
	restore := d.Save(t)
	finishPending(t, s)
	const callers = 16
	given := make(map[string]bool)
	for i := range callers {
		given[create(t, s, session.Session{ID: fmt.Sprint("lost", i), CreatedAt: start}).Origin] = true
	}
	restore()
	finishPending(t, s)
	var mu sync.Mutex
	generations := make(map[string]bool)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			got, err := s.CreateSession(t.Context(), session.Session{ID: fmt.Sprint(i), CreatedAt: start})
			if err != nil {
				t.Errorf("create: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if given[got.Origin] {
				t.Errorf("origin %s was given twice", got.Origin)
			}
			given[got.Origin] = true
			generation, _, _ := strings.Cut(got.Origin, ":")
			generations[generation] = true
		})
	}
	wg.Wait()
	if len(generations) != 1 {
		t.Errorf("generations are %v, want one", generations)
	}
}

// Here the generation itself is gone.
func testEmptied(t *testing.T, d Database) {
	closeStore(t, d.open(t))
	restore := d.Save(t)
	s := d.open(t)
	lost := create(t, s, session.Session{ID: "lost", CreatedAt: start})
	restore()
	finishPending(t, s)
	later := create(t, s, session.Session{ID: "later", CreatedAt: start})
	wantAllotted(t, s, lost.Origin, false)
	wantAllotted(t, s, later.Origin, true)
}

// A create that fails takes no number and does not look like time going back.
func testRefusedCreates(t *testing.T, s session.Store) {
	first := create(t, s, session.Session{ID: "a", CreatedAt: start})
	for range 3 {
		_, err := s.CreateSession(t.Context(), session.Session{ID: "a", CreatedAt: start})
		wantError(t, err, session.ErrExists)
	}
	if second := create(t, s, session.Session{ID: "b", CreatedAt: start}); second.Origin != generationOf(t,
		first)+":2" {
		t.Errorf("origin %s follows %s", second.Origin, first.Origin)
	}
}
