package systemtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// TestKillEngine kills dockerd under load, and starts it again. While it is away nothing is taken
// for gone, and the API says what is wrong; when it is back, all is well without anybody doing
// anything.
func TestKillEngine(t *testing.T) {
	engine := newDockerd(t)
	outside := engineClient(t, engine.host())
	d := newDaemon(t, engine.host(), "--reconcile-interval", "1s", "--reconcile-grace", "1s")
	d.start()
	instance := d.instance()
	for i := range 4 {
		if err := d.create(t.Context(), fmt.Sprintf("kept-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 3 {
		load, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; load.Err() == nil; i++ {
				id := fmt.Sprintf("load-%d-%d", round, i)
				_ = d.create(load, id) // may fail; what it leaves behind is what is checked
				_, _ = d.api.Exec(load, fmt.Sprintf("kept-%d", i%4), v1.ExecRequest{Cmd: []string{"true"}})
				_ = d.api.DeleteSession(load, id)
			}
		}()
		time.Sleep(time.Duration(200+round*300) * time.Millisecond)
		engine.kill()

		promptly(t, "create", func(ctx context.Context) {
			if code := client.CodeOf(d.create(ctx, fmt.Sprintf("away-%d", round))); code != v1.CodeEngineUnavailable {
				t.Errorf("create while the engine is away: %q, want %q", code, v1.CodeEngineUnavailable)
			}
		})
		promptly(t, "get", func(ctx context.Context) {
			s, err := d.api.GetSession(ctx, "kept-0")
			if err != nil || s.Status != v1.StatusUnknown {
				t.Errorf("get while the engine is away: %q, %v; want %q", s.Status, err, v1.StatusUnknown)
			}
		})
		if _, err := d.api.Reconcile(t.Context(),
			client.ReconcileOptions{}); client.CodeOf(err) != v1.CodeEngineUnavailable {
			t.Errorf("reconcile while the engine is away: %v, want %q", err, v1.CodeEngineUnavailable)
		}
		cancel()
		<-done

		engine.start()
		eventually(t, time.Minute, "engine and store agree again", func(ctx context.Context) error {
			if err := d.api.Ready(ctx); err != nil {
				return err
			}
			if _, err := d.api.Reconcile(ctx, client.ReconcileOptions{}); err != nil {
				return err
			}
			if found := violations(sqliteRows(t, d.database()), containers(t, outside, instance)); len(found) > 0 {
				return fmt.Errorf("%q", found)
			}
			return nil
		})
		for i := range 4 {
			id := fmt.Sprintf("kept-%d", i)
			if _, err := d.api.StartSession(t.Context(), id); err != nil {
				t.Fatalf("start %s after the engine came back: %v", id, err)
			}
			if result, err := d.api.Exec(t.Context(), id, v1.ExecRequest{Cmd: []string{"echo", "here"}}); err != nil ||
				string(result.Stdout) != "here\n" {
				t.Fatalf("exec in %s after the engine came back: %q, %v", id, result.Stdout, err)
			}
		}
	}
}

// promptly fails the test where f hangs, and logs how long it took. The bound is far above the
// second that users are promised, for the machine may be busy; the log tells how near it was.
func promptly(t *testing.T, what string, f func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	start := time.Now()
	f(ctx)
	t.Logf("%s answered after %v", what, time.Since(start).Round(time.Millisecond))
}
