package httpapi_test

import (
	"context"
	"errors"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// TestMainProcess restarts a session, signals it and waits for it.
func TestMainProcess(t *testing.T) {
	f := newFixture(t, settings{})
	ctx, c := t.Context(), f.admin
	f.running(t, "s", "p")
	before, err := c.GetSession(ctx, "s")
	if err != nil {
		t.Fatal(err)
	}
	restarted, err := c.RestartSession(ctx, "s", 0)
	if err != nil || restarted.Status != v1.StatusRunning || !restarted.StartedAt.After(*before.StartedAt) {
		t.Errorf("restarted %+v, %v", restarted, err)
	}
	_, err = c.RestartSession(ctx, "s", 2*time.Hour)
	wantCode(t, err, v1.CodeInvalidArgument)

	impatient, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := c.WaitSession(impatient, "s"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait: %v", err)
	}
	if err := c.SignalSession(ctx, "s", "sigwinch"); err != nil {
		t.Error(err)
	}
	wantCode(t, c.SignalSession(ctx, "s", "nonsense"), v1.CodeInvalidArgument)
	waited := make(chan v1.Exit, 1)
	go func() {
		exit, err := c.WaitSession(ctx, "s")
		if err != nil {
			t.Errorf("wait: %v", err)
		}
		waited <- exit
	}()
	if err := c.SignalSession(ctx, "s", ""); err != nil {
		t.Error(err)
	}
	if exit := <-waited; exit.Code != 137 || exit.At.IsZero() {
		t.Errorf("waited for %+v", exit)
	}
	wantCode(t, c.SignalSession(ctx, "s", "HUP"), v1.CodeSessionNotRunning)
	if exit, err := c.WaitSession(ctx, "s"); err != nil || exit.Code != 137 {
		t.Errorf("wait for what is stopped: %+v, %v", exit, err)
	}
}
