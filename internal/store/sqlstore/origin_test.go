package sqlstore

import (
	"sync"
	"testing"
)

func FuzzParseOrigin(f *testing.F) {
	for _, origin := range []string{
		formatOrigin(newID(), 1), formatOrigin(newID(), 1<<62), "", ":", ":1", "x:1", newID() + ":01",
		newID() + ":9223372036854775808",
	} {
		f.Add(origin)
	}
	f.Fuzz(func(t *testing.T, origin string) {
		generation, seq, ok := parseOrigin(origin)
		if ok && (formatOrigin(generation, seq) != origin || seq < 1 || len(generation) != len(newID()) ||
			!storable(generation)) {
			t.Errorf("%q is taken for %q, %d", origin, generation, seq)
		}
	})
}

func TestParseOrigin(t *testing.T) {
	id := newID()
	if generation, seq, ok := parseOrigin(formatOrigin(id, 12)); generation != id || seq != 12 || !ok {
		t.Errorf("got %q, %d, %v", generation, seq, ok)
	}
}

func TestLedger(t *testing.T) {
	var l ledger
	l.start("a")
	l.hand("a", 1)
	l.hand("a", 3)
	l.hand("a", 2) // answers may overtake each other
	for _, tc := range []struct {
		generation string
		seq        int64
		want       bool
	}{{"a", 3, false}, {"a", 4, true}, {"b", 4, false}} {
		if got := l.fresh(tc.generation, tc.seq); got != tc.want {
			t.Errorf("%s:%d is fresh: %v", tc.generation, tc.seq, got)
		}
	}
	l.start("b")
	l.hand("a", 9) // late
	if !l.fresh("b", 1) || l.fresh("a", 10) {
		t.Error("the new generation does not start anew")
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { l.fresh("b", int64(i)); l.hand("b", int64(i)) })
	}
	wg.Wait()
	if l.fresh("b", 49) || !l.fresh("b", 50) {
		t.Error("the highest number is lost")
	}
}
