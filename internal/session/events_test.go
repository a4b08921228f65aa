package session_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/session"
)

// TestPastEvents checks what a subscription begins with.
func TestPastEvents(t *testing.T) {
	begun := time.Now()
	k := newKit(t)
	past := func(sel session.EventSelection) (kinds string, sub *session.Subscription) {
		t.Helper()
		sub, err := k.Subscribe(admin, sel)
		if err != nil {
			t.Fatal(err)
		}
		sub.Close()
		for _, e := range sub.Past() {
			kinds += e.SessionID + " " + e.Kind + "\n"
		}
		return kinds, sub
	}
	if _, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "x", ProjectID: "p", Start: true}); err != nil {
		t.Fatal(err)
	}
	middle := time.Now()
	k.create(t, "y")
	for _, tt := range []struct {
		name string
		sel  session.EventSelection
		want string
	}{
		{"none asked for", session.EventSelection{}, ""},
		{"all", session.EventSelection{Since: begun.Add(-time.Hour)},
			"x session.created\nx session.started\ny session.created\ny session.started\n"},
		{"later ones", session.EventSelection{Since: middle}, "y session.created\ny session.started\n"},
		{"a project's", session.EventSelection{Since: begun.Add(-time.Hour), ProjectID: "p",
			Kinds: []string{session.EventStarted}}, "x session.started\n"},
		{"a session's", session.EventSelection{Since: begun.Add(-time.Hour), SessionIDs: []string{"y", "z"}},
			"y session.created\ny session.started\n"},
		{"from now on", session.EventSelection{Since: time.Now().Add(time.Hour)}, ""},
	} {
		if got, _ := past(tt.sel); got != tt.want {
			t.Errorf("%s:\n%swant:\n%s", tt.name, got, tt.want)
		}
	}
	sub, err := k.Subscribe(of("p"), session.EventSelection{Since: begun.Add(-time.Hour)})
	if err != nil || len(sub.Past()) != 2 {
		t.Fatalf("a project's token sees %+v, %v", sub.Past(), err)
	}
	sub.Close()
	if from := sub.KeptFrom(); from.Before(begun.Add(-time.Millisecond)) || from.After(middle) {
		t.Errorf("kept from %v, and the service began at %v", from, begun)
	}
}

// TestPastIsBounded checks that the oldest events go, and that this is said.
func TestPastIsBounded(t *testing.T) {
	k := newKit(t)
	begun := time.Now()
	for i := range 600 { // two events each
		id := fmt.Sprint("s", i)
		if _, err := k.Create(t.Context(), admin, session.CreateRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
		if err := k.Delete(t.Context(), admin, id); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := k.Subscribe(admin, session.EventSelection{Since: begun.Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	past := sub.Past()
	if len(past) != 1024 || past[len(past)-1].SessionID != "s599" || past[0].SessionID != "s88" {
		t.Errorf("%d are kept, from %+v to %+v", len(past), past[0], past[len(past)-1])
	}
	if from := sub.KeptFrom(); !from.After(begun) || past[0].Time.Before(from) {
		t.Errorf("kept from %v, and the first is of %v", from, past[0].Time)
	}
}

// TestPastIsTheProjectsOwn checks that a busy project costs others none of their past, and does not
// show in what they are told.
func TestPastIsTheProjectsOwn(t *testing.T) {
	k := newKit(t)
	subscribe := func(who session.Principal) *session.Subscription {
		t.Helper()
		sub, err := k.Subscribe(who, session.EventSelection{Since: time.Now().Add(-time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		sub.Close()
		return sub
	}
	quiet, unseen := subscribe(of("quiet")).KeptFrom(), subscribe(of("unseen")).KeptFrom()
	cycle := func(project, id string) {
		t.Helper()
		if _, err := k.Create(t.Context(), of(project), session.CreateRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
		if err := k.Delete(t.Context(), of(project), id); err != nil {
			t.Fatal(err)
		}
	}
	cycle("quiet", "q0")
	for i := range 600 {
		cycle("busy", fmt.Sprint("s", i))
	}
	cycle("quiet", "q1")
	sub := subscribe(of("quiet"))
	if past := sub.Past(); len(past) != 4 || past[0].SessionID != "q0" || past[3].SessionID != "q1" {
		t.Errorf("the quiet one's past is %+v", past)
	}
	if from := sub.KeptFrom(); !from.Equal(quiet) {
		t.Errorf("the quiet one's is kept from %v, it was %v", from, quiet)
	}
	if from := subscribe(of("unseen")).KeptFrom(); !from.Equal(unseen) {
		t.Errorf("that of one without events is kept from %v, it was %v", from, unseen)
	}
	sub = subscribe(of("busy"))
	if past := sub.Past(); len(past) != 1020 || past[0].SessionID != "s90" || past[0].Time.Before(sub.KeptFrom()) {
		t.Errorf("%d of the busy one's are kept, from %+v, said to be from %v", len(past), past[0], sub.KeptFrom())
	}
	all := subscribe(admin)
	past := all.Past()
	if len(past) != 1024 || past[0].SessionID != "q0" || past[2].SessionID != "s90" || past[1023].SessionID != "q1" {
		t.Errorf("of all, %d are kept", len(past))
	}
	if !all.KeptFrom().Equal(sub.KeptFrom()) {
		t.Errorf("of all are kept from %v, and of one from %v alone", all.KeptFrom(), sub.KeptFrom())
	}
}
