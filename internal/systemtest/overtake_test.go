package systemtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// TestNobodyWaitsForAStop has sessions be stopped that do not heed it and have an hour, and
// somebody who does not want to wait that long.
func TestNobodyWaitsForAStop(t *testing.T) {
	host, engine := sharedEngine(t)
	d := newDaemon(t, host)
	d.start()
	instance := d.instance()
	t.Cleanup(func() { removeAll(t, engine, instance) })
	stopping := func(id string) (stopped chan error) {
		t.Helper()
		if _, err := d.api.CreateSession(t.Context(), v1.CreateSessionRequest{ID: id, Spec: v1.Spec{
			Cmd: []string{"sh", "-c", "trap '' TERM; touch /tmp/deaf; while :; do sleep 1; done"}}}, nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, "it is deaf", func(context.Context) error {
			r, err := d.api.Exec(t.Context(), id, v1.ExecRequest{Cmd: []string{"test", "-e", "/tmp/deaf"}})
			if err != nil || r.ExitCode != 0 {
				return fmt.Errorf("%+v, %v", r, err)
			}
			return nil
		})
		stopped = make(chan error, 1)
		go func() {
			_, err := d.api.StopSession(t.Context(), id, time.Hour)
			stopped <- err
		}()
		eventually(t, 10*time.Second, "it is being stopped", func(context.Context) error {
			if s, err := d.api.GetSession(t.Context(), id); err != nil || s.Status != v1.StatusStopping {
				return fmt.Errorf("it is %s, %v", s.Status, err)
			}
			return nil
		})
		return stopped
	}
	for id, hurry := range map[string]func(context.Context, string) error{
		"removed": d.api.DeleteSession,
		"killed": func(ctx context.Context, id string) error {
			s, err := d.api.StopSession(ctx, id, 0)
			if err == nil && (s.Status != v1.StatusStopped || s.Exit == nil || s.Exit.Code != 137) {
				return fmt.Errorf("it is %+v", s)
			}
			return err
		},
	} {
		stopped := stopping(id)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := hurry(ctx, id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		cancel()
		if err := <-stopped; err != nil {
			t.Errorf("%s: the stop that was cut short: %v", id, err)
		}
	}
}
