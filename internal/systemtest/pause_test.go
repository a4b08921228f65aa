package systemtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// TestPauseOutlivesDaemon pauses a session that is busy. It uses no CPU from then on, also while no
// daemon is there to remember that it is paused, and until it is unpaused.
func TestPauseOutlivesDaemon(t *testing.T) {
	host, engine := sharedEngine(t)
	d := newDaemon(t, host)
	d.start()
	instance := d.instance()
	t.Cleanup(func() { removeAll(t, engine, instance) })
	if _, err := d.api.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "busy", Spec: v1.Spec{
		Cmd: []string{"sh", "-c", "while :; do :; done"}}}, nil); err != nil {
		t.Fatal(err)
	}
	sample := func() v1.SessionStats {
		t.Helper()
		stats, err := d.api.SessionStats(t.Context(), "busy")
		if err != nil || stats.MemoryUsed <= 0 || stats.MemoryLimit <= 0 || stats.PIDs < 1 {
			t.Fatalf("stats %+v, %v", stats, err)
		}
		return stats
	}
	usesCPU := func() {
		t.Helper()
		before := sample()
		eventually(t, 10*time.Second, "it uses CPU", func(context.Context) error {
			if now := sample(); now.CPUTime <= before.CPUTime {
				return fmt.Errorf("CPU time is %v as before", now.CPUTime)
			}
			return nil
		})
	}
	usesCPU()

	paused, err := d.api.PauseSession(t.Context(), "busy")
	if err != nil || paused.Status != v1.StatusRunning || !paused.Paused {
		t.Fatalf("paused %+v, %v", paused, err)
	}
	before := sample()
	_, err = d.api.Exec(t.Context(), "busy", v1.ExecRequest{Cmd: []string{"true"}})
	if client.CodeOf(err) != v1.CodeSessionNotRunning {
		t.Errorf("exec while paused: %v, want %q", err, v1.CodeSessionNotRunning)
	}
	d.kill()
	d.start()
	if s, err := d.api.GetSession(t.Context(), "busy"); err != nil || s.Status != v1.StatusRunning || !s.Paused {
		t.Errorf("after a restart of the daemon: %+v, %v", s, err)
	}
	if after := sample(); after.CPUTime != before.CPUTime || !after.Time.After(before.Time) {
		t.Errorf("CPU time while paused: %v at %v, then %v at %v", before.CPUTime, before.Time, after.CPUTime,
			after.Time)
	}

	if s, err := d.api.UnpauseSession(t.Context(), "busy"); err != nil || s.Paused {
		t.Errorf("unpaused %+v, %v", s, err)
	}
	usesCPU()
	if _, err := d.api.PauseSession(t.Context(), "busy"); err != nil {
		t.Error(err)
	}
	if s, err := d.api.StopSession(t.Context(), "busy", 0); err != nil || s.Status != v1.StatusStopped || s.Paused {
		t.Errorf("stopped while paused: %+v, %v", s, err)
	}
}
