package storetest

import (
	"reflect"
	"testing"

	"github.com/octobot-run/octobot/internal/session"
)

var projectTests = map[string]func(*testing.T, Database){
	"projects": on(testProjects),
}

func testProjects(t *testing.T, s session.Store) {
	if all, err := s.ListProjects(t.Context()); err != nil || len(all) != 0 {
		t.Fatalf("an empty store has %v, %v", all, err)
	}
	quota := session.Quota{Sessions: 1, Running: session.NoLimit, CPUs: 1.5, Memory: 1 << 40, Execs: 2, Streams: 3}
	for _, p := range []session.Project{{ID: "b", Quota: quota}, {ID: "a"}, {ID: "B"}} {
		if err := s.SetProject(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	changed := session.Quota{Sessions: 7}
	if err := s.SetProject(t.Context(), session.Project{ID: "a", Quota: changed}); err != nil {
		t.Fatal(err)
	}
	want := []session.Project{{ID: "B"}, {ID: "a", Quota: changed}, {ID: "b", Quota: quota}}
	if got, err := s.ListProjects(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("list gave %+v, %v; want %+v", got, err, want)
	}
	if err := s.DeleteProject(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	wantError(t, s.DeleteProject(t.Context(), "a"), session.ErrNotFound)
	if got, err := s.ListProjects(t.Context()); err != nil || len(got) != 2 {
		t.Errorf("list gave %+v, %v", got, err)
	}
}
