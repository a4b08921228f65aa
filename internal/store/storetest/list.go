package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/session"
)

var listTests = map[string]func(*testing.T, Database){
	"order and filter": on(testList),
	"paging":           on(testPaging),
}

func list(t *testing.T, s session.Store, f session.Filter) (ids []string) {
	t.Helper()
	found, err := s.ListSessions(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	for _, sess := range found {
		ids = append(ids, sess.ID)
	}
	return ids
}

func testList(t *testing.T, s session.Store) {
	if got := list(t, s, session.Filter{Closed: true}); len(got) != 0 {
		t.Fatalf("an empty store has %v", got)
	}
	closed := start.Add(time.Hour)
	for _, sess := range []session.Session{
		{ID: "b", ProjectID: "p", CreatedAt: start},
		{ID: "old", CreatedAt: start.Add(-time.Microsecond)},
		{ID: "B", ProjectID: "P", CreatedAt: start},
		{ID: "a", ProjectID: "p", CreatedAt: start, ClosedAt: closed},
		{ID: "_", ProjectID: "p", CreatedAt: start},
		{ID: "new", CreatedAt: start.Add(time.Microsecond), ClosedAt: closed},
		{ID: "-", CreatedAt: start},
	} {
		create(t, s, sess)
	}
	cursor := session.Cursor{CreatedAt: start, ID: "a"}
	for _, tc := range []struct {
		name string
		f    session.Filter
		want []string
	}{
		{"open", session.Filter{}, []string{"b", "_", "B", "-", "old"}},
		{"all", session.Filter{Closed: true}, []string{"new", "b", "a", "_", "B", "-", "old"}},
		{"project", session.Filter{ProjectID: "p"}, []string{"b", "_"}},
		{"project, all", session.Filter{ProjectID: "p", Closed: true}, []string{"b", "a", "_"}},
		{"no such project", session.Filter{ProjectID: "x"}, nil},
		{"limit", session.Filter{Limit: 2}, []string{"b", "_"}},
		{"after", session.Filter{After: cursor, Closed: true}, []string{"_", "B", "-", "old"}},
		{"after a closed one", session.Filter{After: cursor}, []string{"_", "B", "-", "old"}},
		{"all of it", session.Filter{After: cursor, ProjectID: "p", Limit: 5}, []string{"_"}},
		{"after the last", session.Filter{After: session.Cursor{CreatedAt: start.Add(-time.Hour)}}, nil},
	} {
		if got := list(t, s, tc.f); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

// Pages neither repeat nor lose what was there all along, whatever comes and
// goes in between.
func testPaging(t *testing.T, s session.Store) {
	var want []string
	for i := range 25 {
		id := fmt.Sprintf("s%02d", i)
		create(t, s, session.Session{ID: id, CreatedAt: start.Add(time.Duration(i/10) * time.Second)})
		want = append(want, id)
	}
	slices.Reverse(want)
	var got []string
	f := session.Filter{Limit: 4}
	for page := 0; ; page++ {
		found, err := s.ListSessions(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			break
		}
		for _, sess := range found {
			got = append(got, sess.ID)
		}
		last := found[len(found)-1]
		f.After = session.Cursor{CreatedAt: last.CreatedAt, ID: last.ID}
		create(t, s, session.Session{ID: fmt.Sprint("newer", page), CreatedAt: start.Add(time.Hour)})
		last.ClosedAt = start.Add(time.Hour)
		update(t, s, last)
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages gave\n%q, want\n%q", got, want)
	}
}
