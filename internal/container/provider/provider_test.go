package provider_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errEngine = errors.New("engine's own")

func classify(err error) (string, error) { return err.Error(), container.ErrUnsupported }

func TestBegin(t *testing.T) {
	calls := provider.NewCalls()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	refused := func() error { return container.ErrInvalidArgument }
	tests := map[string]struct {
		ctx   context.Context
		id    string
		check func() error
		want  error
	}{
		"admitted":      {t.Context(), "a", nil, nil},
		"bad session":   {t.Context(), "/", nil, container.ErrInvalidArgument},
		"bad argument":  {t.Context(), "a", refused, container.ErrInvalidArgument},
		"ctx has ended": {ended, "a", nil, context.Canceled},
		"both":          {ended, "a", refused, container.ErrInvalidArgument},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := calls.Begin(tt.ctx, "start", tt.id, tt.check)
			if container.ClassOf(err) != tt.want {
				t.Fatalf("error is %v; want %v", err, tt.want)
			}
			if err == nil {
				c.Done()
			}
		})
	}
	if err := calls.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := calls.BeginEngine(t.Context(), "list")
	if container.ClassOf(err) != container.ErrClosed || err.Error() != "list: "+container.ErrClosed.Error() {
		t.Errorf("after Close: %v", err)
	}
}

func TestError(t *testing.T) {
	calls := provider.NewCalls()
	caller, cancel := context.WithCancel(t.Context())
	c, err := calls.Begin(caller, "start", "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string, err error, class error, text string) {
		t.Helper()
		got := c.Error(err, classify)
		if container.ClassOf(got) != class || got.Error() != text {
			t.Errorf("%s: %q of class %v; want %q of %v", when, got, container.ClassOf(got), text, class)
		}
	}
	if err := c.Error(nil, classify); err != nil {
		t.Errorf("no error: %v", err)
	}
	check("the engine's", errEngine, container.ErrUnsupported, `start session "a": not supported: engine's own`)
	check("the seam's", container.Errorf("", "", container.ErrPortTaken, "80"), container.ErrPortTaken,
		`start session "a": `+container.ErrPortTaken.Error()+": 80")
	cancel()
	waited := provider.Sleep(c.Ctx, "the moon", time.Hour)
	check("the caller has gone", errEngine, context.Canceled, `start session "a": context canceled`)
	check("it waited", waited, context.Canceled, `start session "a": context canceled: waiting for the moon`)
	c.Done()

	if c, err = calls.Begin(t.Context(), "start", "a", nil); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() { closed <- calls.Close() }()
	<-c.Ctx.Done()
	check("the provider is closed", context.Canceled, container.ErrClosed,
		`start session "a": `+container.ErrClosed.Error())
	c.Done()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
}

type closer struct{ closed int }

func (c *closer) Close() error {
	c.closed++
	return errEngine
}

func TestCloseClosesWhatIsKept(t *testing.T) {
	calls := provider.NewCalls()
	kept, forgotten := &closer{}, &closer{}
	if !calls.Keep(kept) || !calls.Keep(forgotten) {
		t.Fatal("not kept")
	}
	calls.Forget(forgotten)
	ran := false
	calls.Go(func() { ran = true })
	if err := calls.Close(); !errors.Is(err, errEngine) {
		t.Errorf("Close: %v; want what was kept to say why", err)
	}
	if err := calls.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	if kept.closed != 1 || forgotten.closed != 0 || !ran {
		t.Errorf("kept was closed %d times, forgotten %d; Go ran: %t", kept.closed, forgotten.closed, ran)
	}
	if calls.Keep(kept) {
		t.Error("kept after Close")
	}
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		looks := 0
		err := provider.Poll(t.Context(), "it", time.Second, 3*time.Second, func() (bool, error) {
			looks++
			return looks == 5, nil
		})
		if took := time.Since(start); err != nil || took != (1+2+3+3)*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		err = provider.Poll(t.Context(), "it", time.Second, time.Second,
			func() (bool, error) { return false, errEngine })
		if !errors.Is(err, errEngine) {
			t.Errorf("a failed look: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err = provider.Poll(ctx, "it", time.Second, time.Second, func() (bool, error) { return false, nil })
		if w, ok := errors.AsType[*provider.WaitError](err); !ok || w.What != "it" ||
			!errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("in vain: %v", err)
		}
	})
}

func TestHead(t *testing.T) {
	for _, tt := range []struct {
		most   int64
		writes []string
		kept   string
		cut    bool
	}{
		{3, nil, "", false},
		{3, []string{"ab", "c"}, "abc", false},
		{3, []string{"ab", "cd", "e"}, "abc", true},
		{3, []string{"abcd"}, "abc", true},
		{3, []string{"abc", ""}, "abc", false},
	} {
		w := &provider.Head{Most: tt.most}
		for _, s := range tt.writes {
			if n, err := io.WriteString(w, s); n != len(s) || err != nil {
				t.Errorf("%q: wrote %d, %v", tt.writes, n, err)
			}
		}
		if string(w.Kept) != tt.kept || w.Cut != tt.cut {
			t.Errorf("%q: kept %q, cut %v", tt.writes, w.Kept, w.Cut)
		}
	}
}
