package keylock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

func TestLock(t *testing.T) {
	var l Locks
	unlock, err := l.Lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := l.TryLock("a"); ok {
		t.Error("locked twice")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("lock with an ended ctx: %v", err)
	}
	other, ok := l.TryLock("b")
	if !ok {
		t.Fatal("another key is locked as well")
	}
	other()
	unlock()
	if unlock, ok = l.TryLock("a"); !ok {
		t.Fatal("still locked")
	}
	unlock()
	if len(l.keys) != 0 {
		t.Errorf("%d keys are kept", len(l.keys))
	}
}

func TestExcludes(t *testing.T) {
	var l Locks
	counts := make([]int, 4)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			key := i % len(counts)
			unlock, err := l.Lock(t.Context(), fmt.Sprint(key))
			if err != nil {
				t.Error(err)
				return
			}
			counts[key]++ // the race detector watches
			unlock()
		})
	}
	wg.Wait()
	for _, n := range counts {
		if n != 16 {
			t.Errorf("counts: %v", counts)
		}
	}
	if len(l.keys) != 0 {
		t.Errorf("%d keys are kept", len(l.keys))
	}
}
