package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestChangeEach has the first of many wait for the last that can be under way with it.
func TestChangeEach(t *testing.T) {
	var ids, told, want []string
	for i := range 3 * changesAtOnce {
		ids = append(ids, fmt.Sprint(i))
	}
	var under, most atomic.Int32
	full := make(chan struct{})
	fill := sync.OnceFunc(func() { close(full) })
	err := changeEach(t.Context(), "stop", ids, func(id string) (string, error) {
		n := under.Add(1)
		defer under.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		if n == changesAtOnce {
			fill()
		}
		select {
		case <-full:
		case <-t.Context().Done():
		}
		if strings.HasSuffix(id, "7") {
			return "", errors.New("no " + id)
		}
		return "got " + id, nil
	}, func(id, got string) { told = append(told, id+" "+got) })
	var errs []string
	for _, id := range ids {
		if strings.HasSuffix(id, "7") {
			errs = append(errs, "stop "+id+": no "+id)
		} else {
			want = append(want, id+" got "+id)
		}
	}
	if got := errorLines(err); strings.Join(got, "|") != strings.Join(errs, "|") {
		t.Errorf("errors %q, want %q", got, errs)
	}
	if strings.Join(told, "|") != strings.Join(want, "|") || most.Load() != changesAtOnce {
		t.Errorf("told %q, %d at once", told, most.Load())
	}
}

// TestChangeEachTwice: who is named twice is changed twice, one time after the other.
func TestChangeEachTwice(t *testing.T) {
	var mu sync.Mutex
	under, calls := map[string]bool{}, 0
	err := changeEach(t.Context(), "rm", []string{"a", "b", "a", "a", "b"}, func(id string) (int, error) {
		mu.Lock()
		if under[id] {
			t.Errorf("%s is changed twice at once", id)
		}
		under[id] = true
		mu.Unlock()
		defer func() {
			mu.Lock()
			under[id] = false
			mu.Unlock()
		}()
		mu.Lock()
		defer mu.Unlock()
		calls++
		return calls, nil
	}, func(string, int) {})
	if err != nil || calls != 5 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// TestChangeEachCancelled: what was not begun is not told of, and why nothing more is begun once.
func TestChangeEachCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	ids := make([]string, 4*changesAtOnce)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	stuck := make(chan struct{})
	err := changeEach(ctx, "stop", ids, func(id string) (int, error) {
		if id != "3" {
			<-stuck
			cancel(signalled{2})
			return 0, context.Cause(ctx)
		}
		close(stuck)
		<-ctx.Done()
		return 0, errors.New("it is stuck")
	}, func(id string, _ int) { t.Errorf("%s is told", id) })
	if got := strings.Join(errorLines(err), "|"); got != "stop 3: it is stuck|ended by signal: interrupt" {
		t.Errorf("%q", got)
	}
}
