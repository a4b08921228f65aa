package session_test

import (
	"context"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
)

// pause pauses a session.
func (k *kit) pause(t *testing.T, id string) session.View {
	t.Helper()
	v, err := k.Pause(t.Context(), admin, id)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPause(t *testing.T) {
	k := newKit(t)
	created := k.create(t, "x")
	if created.Paused {
		t.Error("it begins paused")
	}
	for range 2 {
		v := k.pause(t, "x")
		if v.Status != session.StatusRunning || !v.Paused || v.Reason != "paused" || v.Address != created.Address {
			t.Errorf("pause: %+v", v)
		}
	}
	page, err := k.List(t.Context(), admin, session.ListRequest{Statuses: []session.Status{session.StatusRunning}})
	if err != nil || len(page.Sessions) != 1 || !page.Sessions[0].Paused {
		t.Errorf("list: %+v, %v", page, err)
	}
	k.reconcile(t)
	if v := k.status(t, "x", session.StatusRunning); !v.Paused || v.Desired != session.DesiredRunning {
		t.Errorf("after a reconciliation: %+v", v)
	}
	for range 2 {
		v, err := k.Unpause(t.Context(), admin, "x")
		if err != nil || v.Status != session.StatusRunning || v.Paused || v.Reason != "" {
			t.Errorf("unpause: %+v, %v", v, err)
		}
	}
	if _, err := k.Exec(t.Context(), admin, "x", []string{"true"}, container.ExecOptions{}); err != nil {
		t.Errorf("exec after unpause: %v", err)
	}
}

// TestStartUnpauses checks that a start lets a paused session go on, also one that was interrupted.
func TestStartUnpauses(t *testing.T) {
	k := newKit(t)
	created := k.create(t, "x")
	k.pause(t, "x")
	v, err := k.Start(t.Context(), admin, "x")
	if err != nil || v.Paused || v.Status != session.StatusRunning || !v.StartedAt.Equal(created.StartedAt) {
		t.Errorf("start of a paused session: %+v, %v", v, err)
	}
	if v := k.status(t, "x", session.StatusRunning); v.Paused {
		t.Error("it is paused after its start")
	}

	k.pause(t, "x")
	remove := k.inject(t, mock.Fault{Op: "unpause", Err: container.ErrUnavailable})
	_, err = k.Start(t.Context(), admin, "x")
	wantCode(t, err, session.CodeEngineUnavailable)
	k.status(t, "x", session.StatusStarting)
	remove()
	k.reconcile(t)
	if v := k.status(t, "x", session.StatusRunning); v.Paused || !v.StartedAt.Equal(created.StartedAt) {
		t.Errorf("after the start was finished: %+v", v)
	}
}

// TestPausedRefuses checks that whoever wants something of a paused session hears that it is
// paused, and of a stopped one that it does not run.
func TestPausedRefuses(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	refusals := func() map[string]error {
		errs := make(map[string]error)
		_, errs["exec"] = k.Exec(t.Context(), admin, "x", []string{"true"}, container.ExecOptions{})
		_, errs["stream"] = k.ExecStream(t.Context(), admin, "x", []string{"true"}, container.ExecOptions{}, nil, nil)
		_, errs["attach"] = k.Attach(t.Context(), admin, "x", container.AttachOptions{Cmd: []string{"cat"}})
		_, errs["start process"] = k.StartProcess(t.Context(), admin, "x", []string{"true"}, container.ProcessOptions{})
		_, errs["ps"] = k.ListProcesses(t.Context(), admin, "x")
		_, errs["open terminal"] = k.OpenTerminal(t.Context(), admin, "x",
			container.TerminalOptions{Name: "t", AttachOptions: container.AttachOptions{Cmd: []string{"cat"}}})
		_, errs["terminals"] = k.ListTerminals(t.Context(), admin, "x")
		_, errs["dial"] = k.DialPort(t.Context(), admin, "x", 80)
		_, errs["ports"] = k.ListeningPorts(t.Context(), admin, "x")
		return errs
	}
	files := func() map[string]error {
		errs := make(map[string]error)
		_, errs["stat"] = k.StatFile(t.Context(), admin, "x", "/", container.StatFileOptions{})
		errs["ls"] = k.ListFiles(t.Context(), admin, "x", "/", "", func(container.FileInfo) error { return nil })
		_, _, errs["read"] = k.ReadFile(t.Context(), admin, "x", "/etc/passwd", container.ReadFileOptions{})
		_, errs["write"] = k.WriteFile(t.Context(), admin, "x", "/tmp/x", strings.NewReader("x"),
			container.WriteFileOptions{})
		return errs
	}
	k.pause(t, "x")
	paused := refusals()
	maps.Copy(paused, files())
	for name, err := range paused {
		e := wantCode(t, err, session.CodeSessionNotRunning)
		if e.Detail != "it is paused" || e.Hint != "octobot unpause" || e.Op == "" || e.SessionID != "x" {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if err := k.Logs(t.Context(), admin, "x", container.LogOptions{Tail: -1}, io.Discard, io.Discard); err != nil {
		t.Errorf("logs: %v", err)
	}
	if stats, err := k.Stats(t.Context(), admin, "x"); err != nil || stats.PIDs == 0 {
		t.Errorf("stats: %+v, %v", stats, err)
	}
	if top, err := k.Top(t.Context(), admin, "x"); err != nil || len(top.Processes) == 0 {
		t.Errorf("top: %+v, %v", top, err)
	}
	v, err := k.Stop(t.Context(), admin, "x", 0)
	if err != nil || v.Status != session.StatusStopped || v.Paused {
		t.Fatalf("stop: %+v, %v", v, err)
	}
	errs := refusals()
	_, errs["pause"] = k.Pause(t.Context(), admin, "x")
	_, errs["unpause"] = k.Unpause(t.Context(), admin, "x")
	_, errs["stats"] = k.Stats(t.Context(), admin, "x")
	_, errs["top"] = k.Top(t.Context(), admin, "x")
	for name, err := range errs {
		if e := wantCode(t, err, session.CodeSessionNotRunning); e.Hint != "octobot start" {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if v, err = k.Start(t.Context(), admin, "x"); err != nil || v.Paused {
		t.Errorf("start after stop: %+v, %v", v, err)
	}
	k.pause(t, "x")
	if err := k.Delete(t.Context(), admin, "x"); err != nil || k.containers() != 0 {
		t.Errorf("delete of a paused session: %v, %d containers", err, k.containers())
	}
	for name, err := range everything(t.Context(), k.ContainerService, admin, "x") {
		if name != "get" && name != "check" && name != "delete" {
			wantCode(t, err, session.CodeSessionClosed)
		}
	}
}

// TestPauseWaitsItsTurn checks that a session is not paused in the middle of another change, and
// that stats, which change nothing, do not wait.
func TestPauseWaitsItsTurn(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	release := make(chan struct{})
	k.inject(t, mock.Fault{Op: "stop", Wait: release})
	stopped := make(chan error, 1)
	go func() {
		_, err := k.Stop(t.Context(), admin, "x", 0)
		stopped <- err
	}()
	for k.engine.Calls("stop") == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := k.Stats(t.Context(), admin, "x"); err != nil {
		t.Errorf("stats: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := k.Pause(ctx, admin, "x")
	wantCode(t, err, session.CodeTimeout)
	if n := k.engine.Calls("pause"); n != 0 {
		t.Errorf("the engine was asked %d times", n)
	}
	close(release)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestPauseFails checks what an engine's trouble becomes, and that nothing of it is recorded.
func TestPauseFails(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	before := k.status(t, "x", session.StatusRunning).Version
	k.engine.SetDown(true)
	_, err := k.Pause(t.Context(), admin, "x")
	wantCode(t, err, session.CodeEngineUnavailable)
	_, err = k.Unpause(t.Context(), admin, "x")
	wantCode(t, err, session.CodeEngineUnavailable)
	_, err = k.Stats(t.Context(), admin, "x")
	wantCode(t, err, session.CodeEngineUnavailable)
	k.engine.SetDown(false)
	k.pause(t, "x")
	if v := k.status(t, "x", session.StatusRunning); v.Version != before {
		t.Errorf("the record changed: version %d, was %d", v.Version, before)
	}
	k.engine.Lose("x")
	_, err = k.Pause(t.Context(), admin, "x")
	wantCode(t, err, session.CodeContainerLost)
	_, err = k.Stats(t.Context(), admin, "x")
	wantCode(t, err, session.CodeContainerLost)
}

// TestPauseHangs checks that an engine which never answers holds nobody for ever.
func TestPauseHangs(t *testing.T) {
	bubble(t, "every call", func(t *testing.T) {
		k := newKit(t, func(c *session.Config) { c.CallTimeout = 30 * time.Second })
		k.create(t, "x")
		for name, call := range map[string]func() error{
			"pause":   func() error { _, err := k.Pause(t.Context(), admin, "x"); return err },
			"unpause": func() error { _, err := k.Unpause(t.Context(), admin, "x"); return err },
			"stats":   func() error { _, err := k.Stats(t.Context(), admin, "x"); return err },
		} {
			remove := k.inject(t, mock.Fault{Op: name, Wait: make(chan struct{})})
			start := time.Now()
			wantCode(t, call(), session.CodeTimeout)
			if d := time.Since(start); d != 30*time.Second {
				t.Errorf("%s took %v", name, d)
			}
			remove()
		}
	})
}

// TestPausedExpires checks that pausing and looking at stats keep no session from being idle, and
// that unpausing is use.
func TestPausedExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		k.create(t, "paused")
		k.create(t, "unpaused")
		time.Sleep(29 * time.Minute)
		k.pause(t, "paused")
		k.pause(t, "unpaused")
		if _, err := k.Stats(t.Context(), admin, "paused"); err != nil {
			t.Error(err)
		}
		if _, err := k.Unpause(t.Context(), admin, "unpaused"); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		if v := k.status(t, "paused", session.StatusStopped); v.Reason != "idle for 30m0s" || v.Paused {
			t.Errorf("%+v", v)
		}
		time.Sleep(26 * time.Minute)
		k.status(t, "unpaused", session.StatusRunning)
		time.Sleep(3 * time.Minute)
		k.status(t, "unpaused", session.StatusStopped)
	}, func(c *session.Config) { c.IdleTimeout, c.ReconcileInterval = 30*time.Minute, 10*time.Second })
}
