package cli

import (
	"strings"
	"testing"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// TestStrangersOf checks that each other installation is told of once, with what can be done.
func TestStrangersOf(t *testing.T) {
	fates := []v1.Fate{{SessionID: "own", Action: "keep"}}
	for _, id := range []string{"g", "f", "e", "d", "c", "b", "a"} {
		fates = append(fates, v1.Fate{SessionID: id, Instance: "lost", Action: "hold"})
	}
	fates = append(fates, v1.Fate{SessionID: "x", Instance: "alive", Action: "hold"})
	found := strangersOf(v1.ReconcileReport{Fates: fates})
	if len(found) != 2 {
		t.Fatalf("strangers: %+v", found)
	}
	for i, want := range []string{
		"lost has 7 containers on this engine, whose IDs are taken: a, b, c, d, e and 2 more",
		"alive has 1 container on this engine, whose IDs are taken: x",
	} {
		f := found[i]
		if f.seen != want ||
			!strings.Contains(f.do, "reconcile --allow-removals --instance "+strings.Fields(want)[0]) {
			t.Errorf("strangers: %+v, want %q", f, want)
		}
	}
	if found := strangersOf(v1.ReconcileReport{Fates: fates[:1]}); found != nil {
		t.Errorf("strangers without others: %+v", found)
	}
}
