package storetest

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/session"
)

var sessionTests = map[string]func(*testing.T, Database){
	"round trip":         on(testRoundTrip),
	"create":             on(testCreate),
	"replace closed":     on(testReplaceClosed),
	"update":             on(testUpdate),
	"concurrent updates": on(testConcurrentUpdates),
	"concurrent creates": on(testConcurrentCreates),
	"unstorable":         on(testUnstorable),
	"touch":              on(testTouch),
	"prune":              on(testPrune),
}

// full has a value in every field, which testRoundTrip makes sure of.
func full() session.Session {
	return session.Session{
		ID: "Full_1.x-y", ProjectID: "project",
		Spec: session.Spec{
			Image: "registry.example/image:tag", Cmd: []string{"sh", "-c", "echo \"$1\"\n\u2028<&>"},
			Env: []string{"A=1", "LEER=", "UML=ä€😀"}, Binds: []string{"/a:/b:ro"}, NetworkMode: "none",
			Labels: map[string]string{"k": "v", "": ""}, PortBindings: map[string]string{"80/tcp": "0"},
			Tty: true, WorkingDir: "/w", User: "1000:1000", CPUs: 0.1, Memory: math.MaxInt64, PIDs: 7, Runtime: "runsc",
			ReadOnly: true, Tmpfs: map[string]string{"/tmp": "size=1m"}, Platform: "linux/arm64",
			Agent:       session.AgentOff,
			Record:      true,
			IdleTimeout: time.Minute + 1, MaxAge: 1000 * time.Hour, OnExpire: session.ExpiryClose,
		},
		Next:    &session.Spec{Image: "another", Memory: 7, Labels: map[string]string{"k": "w"}},
		Desired: session.DesiredRunning, Pending: session.OperationCreate,
		PendingSince: start.Add(1 * time.Microsecond),
		Origin:       "ignored", ContainerID: "0123456789abcdef",
		Exit: &session.Exit{Code: 137, OOMKilled: true, Reason: "killed", At: start.Add(2 * time.Microsecond)},
		Failure: &session.Failure{Code: session.CodeContainerLost, Detail: "is gone",
			At: start.Add(3 * time.Microsecond)},
		CreatedAt: start, StartedAt: start.Add(4 * time.Microsecond),
		ActiveAt: start.Add(5 * time.Microsecond), ClosedAt: start.Add(6 * time.Microsecond),
		Version: 99,
	}
}

func testRoundTrip(t *testing.T, s session.Store) {
	every := full()
	for _, v := range []reflect.Value{reflect.ValueOf(every), reflect.ValueOf(every.Spec), reflect.ValueOf(*every.Exit),
		reflect.ValueOf(*every.Failure)} {
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Fatalf("the full session has no %s.%s", v.Type(), v.Type().Field(i).Name)
			}
		}
	}

	zone := time.FixedZone("somewhere", 3*3600)
	nanos := full()
	nanos.ID = "nanos"
	nanos.CreatedAt = start.Add(999).In(zone)
	nanos.ActiveAt = nanos.ActiveAt.Add(999).In(zone)
	nanos.Exit.At = nanos.Exit.At.Add(999).In(zone)
	nanos.Failure.At = nanos.Failure.At.Add(999).In(zone)
	micros := full()
	micros.ID = "nanos"

	empties := session.Session{ID: "empties", CreatedAt: start,
		Spec: session.Spec{Cmd: []string{}, Labels: map[string]string{}}}

	for _, tc := range []struct {
		name     string
		in, want session.Session
	}{
		{"every field", every, every},
		{"nanoseconds and zones", nanos, micros},
		{"next to nothing", session.Session{ID: "x"}, session.Session{ID: "x"}},
		{"empty exit and failure",
			session.Session{ID: "y", Exit: &session.Exit{}, Failure: &session.Failure{}},
			session.Session{ID: "y", Exit: &session.Exit{}, Failure: &session.Failure{}}},
		{"empty collections are none", empties, session.Session{ID: "empties", CreatedAt: start}},
		{"before 1970", session.Session{ID: "old", CreatedAt: time.Date(1901, 1, 1, 0, 0, 0, 1000, time.UTC)},
			session.Session{ID: "old", CreatedAt: time.Date(1901, 1, 1, 0, 0, 0, 1000, time.UTC)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			created := create(t, s, tc.in)
			tc.want.Origin, tc.want.Version = created.Origin, 1
			if !reflect.DeepEqual(created, tc.want) {
				t.Errorf("create returned\n%+v, want\n%+v", created, tc.want)
			}
			if got := get(t, s, tc.in.ID); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("get returned\n%+v, want\n%+v", got, tc.want)
			}
			tc.want.Version = 2
			if got := update(t, s, created); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("update returned\n%+v, want\n%+v", got, tc.want)
			}
			if got := get(t, s, tc.in.ID); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("get after the update returned\n%+v, want\n%+v", got, tc.want)
			}
			all, err := s.AllSessions(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range all {
				if got.ID == tc.in.ID && !reflect.DeepEqual(got, tc.want) {
					t.Errorf("all has\n%+v, want\n%+v", got, tc.want)
				}
			}
		})
	}
}

func testCreate(t *testing.T, s session.Store) {
	_, err := s.GetSession(t.Context(), "a")
	wantError(t, err, session.ErrNotFound)
	first := create(t, s, session.Session{ID: "a", ProjectID: "p", CreatedAt: start})
	_, err = s.CreateSession(t.Context(), session.Session{ID: "a", ProjectID: "other", CreatedAt: start.Add(time.Hour)})
	wantError(t, err, session.ErrExists)
	if got := get(t, s, "a"); !reflect.DeepEqual(got, first) {
		t.Errorf("the session in the way became\n%+v, was\n%+v", got, first)
	}
	if other := create(t, s, session.Session{ID: "A", CreatedAt: start}); other.Origin == first.Origin {
		t.Errorf("two sessions of origin %s", first.Origin)
	}
}

func testReplaceClosed(t *testing.T, s session.Store) {
	old := create(t, s, full()) // which is closed
	again := session.Session{ID: old.ID, ProjectID: "another", CreatedAt: start.Add(time.Hour),
		Desired: session.DesiredRunning}
	_, err := s.CreateSession(t.Context(), again)
	wantError(t, err, session.ErrExists)
	if got := get(t, s, old.ID); !reflect.DeepEqual(got, old) {
		t.Errorf("another project's session changed the record to\n%+v, was\n%+v", got, old)
	}
	again.ProjectID = old.ProjectID
	replaced := create(t, s, again)
	if replaced.Origin == old.Origin {
		t.Errorf("the new session has the old one's origin %s", old.Origin)
	}
	again.Version, again.Origin = 1, replaced.Origin
	if got := get(t, s, old.ID); !reflect.DeepEqual(got, again) {
		t.Errorf("got\n%+v, want\n%+v", got, again)
	}
	// Both are at version 1.
	_, err = s.UpdateSession(t.Context(), old)
	wantError(t, err, session.ErrConflict)
	if got := get(t, s, old.ID); !reflect.DeepEqual(got, again) {
		t.Errorf("an update of the old session changed the new one to\n%+v", got)
	}
}

func testUpdate(t *testing.T, s session.Store) {
	_, err := s.UpdateSession(t.Context(), session.Session{ID: "a", Version: 1})
	wantError(t, err, session.ErrNotFound)

	first := create(t, s, session.Session{ID: "a", ProjectID: "p", CreatedAt: start, ActiveAt: start})
	changed := full()
	changed.ID, changed.Origin, changed.Version = "a", first.Origin, 1
	changed.ProjectID, changed.CreatedAt = "other", start.Add(-time.Hour)
	got := update(t, s, changed)
	changed.Version, changed.ProjectID, changed.CreatedAt = 2, "p", start // the latter two stay
	if !reflect.DeepEqual(got, changed) {
		t.Errorf("got\n%+v, want\n%+v", got, changed)
	}

	_, err = s.UpdateSession(t.Context(), first)
	wantError(t, err, session.ErrConflict)
	ahead := got
	ahead.Version++
	_, err = s.UpdateSession(t.Context(), ahead)
	wantError(t, err, session.ErrConflict)
	if again := get(t, s, "a"); !reflect.DeepEqual(again, got) {
		t.Errorf("a refused update left\n%+v, want\n%+v", again, got)
	}

	// Everything can be taken back but the last activity.
	bare := session.Session{ID: "a", Origin: got.Origin, Version: got.Version}
	cleared := update(t, s, bare)
	bare.Version, bare.ProjectID, bare.CreatedAt, bare.ActiveAt = 3, "p", start, changed.ActiveAt
	if !reflect.DeepEqual(cleared, bare) {
		t.Errorf("got\n%+v, want\n%+v", cleared, bare)
	}
}

func testConcurrentUpdates(t *testing.T, s session.Store) {
	const writers, versions = 16, 12
	create(t, s, session.Session{ID: "a", CreatedAt: start})
	for v := int64(1); v <= versions; v++ {
		read := get(t, s, "a")
		var won atomic.Int64
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				mine := read
				mine.ContainerID = fmt.Sprint(i)
				switch _, err := s.UpdateSession(t.Context(), mine); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, session.ErrConflict):
					t.Errorf("update: %v", err)
				}
			})
		}
		wg.Wait()
		if got := get(t, s, "a"); won.Load() != 1 || got.Version != v+1 {
			t.Fatalf("%d writers changed version %d, which became %d", won.Load(), v, got.Version)
		}
	}
}

func testConcurrentCreates(t *testing.T, s session.Store) {
	const callers, ids = 16, 4
	var mu sync.Mutex
	origins := make(map[string]string) // to the ID
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := range ids {
				got, err := s.CreateSession(t.Context(), session.Session{ID: fmt.Sprint(i), CreatedAt: start})
				if errors.Is(err, session.ErrExists) {
					continue
				}
				if err != nil {
					t.Errorf("create: %v", err)
					continue
				}
				mu.Lock()
				origins[got.Origin] = got.ID
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	seen := make(map[string]bool)
	for _, id := range origins {
		seen[id] = true
	}
	if len(origins) != ids || len(seen) != ids {
		t.Errorf("%d sessions were made under %d IDs, want %d: %v", len(origins), len(seen), ids, origins)
	}
}

// What one database can't keep, no store takes; as an ID it is merely not there.
func testUnstorable(t *testing.T, s session.Store) {
	kept := create(t, s, session.Session{ID: "kept", CreatedAt: start})
	for _, text := range []string{"a\x00b", "a\xffb", "\xed\xa0\x80"} {
		for name, damage := range map[string]func(*session.Session){
			"ID":      func(x *session.Session) { x.ID = text },
			"project": func(x *session.Session) { x.ProjectID = text },
			"image":   func(x *session.Session) { x.Spec.Image = text },
			"env":     func(x *session.Session) { x.Spec.Env = []string{"fine", text} },
			"label":   func(x *session.Session) { x.Spec.Labels = map[string]string{"k": text} },
			"key":     func(x *session.Session) { x.Spec.Labels = map[string]string{text: "v"} },
			"reason":  func(x *session.Session) { x.Exit = &session.Exit{Reason: text} },
			"detail":  func(x *session.Session) { x.Failure = &session.Failure{Detail: text} },
		} {
			sess := session.Session{ID: "new", CreatedAt: start}
			damage(&sess)
			_, err := s.CreateSession(t.Context(), sess)
			t.Logf("%s: %v", name, err)
			wantFailure(t, err)
			if name == "ID" || name == "project" {
				continue
			}
			changed := kept
			damage(&changed)
			_, err = s.UpdateSession(t.Context(), changed)
			wantFailure(t, err)
		}
		_, err := s.GetSession(t.Context(), text)
		wantError(t, err, session.ErrNotFound)
		wantError(t, s.DeleteToken(t.Context(), text), session.ErrNotFound)
		wantFailure(t, s.CreateToken(t.Context(), session.Token{Name: text, Hash: []byte{1}}))
		if err := s.TouchSessions(t.Context(), map[string]time.Time{text: start, "kept": start}); err != nil {
			t.Errorf("touch: %v", err)
		}
		if got, err := s.ListSessions(t.Context(), session.Filter{ProjectID: text}); err != nil || len(got) != 0 {
			t.Errorf("list gave %v, %v", got, err)
		}
		if got, err := s.Allotted(t.Context(), text+":1"); err != nil || got {
			t.Errorf("allotted gave %v, %v", got, err)
		}
	}
	for _, cpus := range []float64{math.NaN(), math.Inf(1)} {
		_, err := s.CreateSession(t.Context(), session.Session{ID: "new", Spec: session.Spec{CPUs: cpus}})
		wantFailure(t, err)
	}
	_, err := s.CreateSession(t.Context(),
		session.Session{ID: "new", CreatedAt: time.Date(300000, 1, 1, 0, 0, 0, 0, time.UTC)})
	wantFailure(t, err)
	if all, err := s.AllSessions(t.Context()); err != nil || len(all) != 1 || all[0].Version != 1 {
		t.Errorf("left are %+v, %v; want the one kept", all, err)
	}
}

func testTouch(t *testing.T, s session.Store) {
	const many = 1100 // more than a statement takes
	active := make(map[string]time.Time)
	for i := range many {
		id := fmt.Sprint("s", i)
		active[id] = start.Add(time.Duration(i) * time.Second)
		if i%100 == 0 {
			create(t, s, session.Session{ID: id, CreatedAt: start, ActiveAt: start.Add(10 * time.Minute)})
		}
	}
	create(t, s, session.Session{ID: "never", CreatedAt: start})
	create(t, s, session.Session{ID: "apart", CreatedAt: start, ActiveAt: start})
	active["never"] = start.Add(999)
	active["s0"] = time.Time{}
	for range 2 {
		if err := s.TouchSessions(t.Context(), active); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.TouchSessions(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]time.Time{
		"s0": start.Add(10 * time.Minute), "s500": start.Add(10 * time.Minute), "s600": start.Add(600 * time.Second),
		"s1000": start.Add(1000 * time.Second), "never": start, "apart": start,
	} {
		if got := get(t, s, id); !got.ActiveAt.Equal(want) || got.Version != 1 {
			t.Errorf("%s was active at %v in version %d, want %v in 1", id, got.ActiveAt, got.Version, want)
		}
	}
}

func testPrune(t *testing.T, s session.Store) {
	limit := start.Add(time.Hour)
	for _, sess := range []session.Session{
		{ID: "open"},
		{ID: "just closed", ClosedAt: limit},
		{ID: "closed", ClosedAt: limit.Add(-time.Microsecond)},
		{ID: "closed long ago", ClosedAt: start},
		{ID: "still closing", ClosedAt: start, Pending: session.OperationClose},
	} {
		create(t, s, sess)
	}
	for _, want := range []int{2, 0} {
		if n, err := s.PruneSessions(t.Context(), limit); n != want || err != nil {
			t.Fatalf("pruned %d, %v; want %d", n, err, want)
		}
	}
	all, err := s.AllSessions(t.Context())
	if err != nil || len(all) != 3 {
		t.Errorf("left are %v, %v; want 3", all, err)
	}
	for _, id := range []string{"closed", "closed long ago"} {
		_, err := s.GetSession(t.Context(), id)
		wantError(t, err, session.ErrNotFound)
	}
}
