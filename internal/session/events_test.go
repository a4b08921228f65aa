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
