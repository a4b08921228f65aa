package session_test

import (
	"maps"
	"testing"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/session"
)

// TestAnothersContainer checks that no call acts on a container that has a session's name, in this
// instance, and was made for another session of its ID: the store comes from a backup.
func TestAnothersContainer(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	if !k.engine.Lose("x") {
		t.Fatal("it had no container")
	}
	made, err := k.rt.Create(t.Context(), "x", container.Options{Image: "debian:12", Cmd: []string{"sleep", "60"},
		Origin: "another:1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.rt.Start(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	calls := make(map[string]error)
	_, calls["stat file"] = k.StatFile(t.Context(), admin, "x", "/etc", container.StatFileOptions{})
	calls["move file"] = k.MoveFile(t.Context(), admin, "x", "/a", "/b", container.MoveFileOptions{})
	_, calls["list terminals"] = k.ListTerminals(t.Context(), admin, "x")
	_, calls["start process"] = k.StartProcess(t.Context(), admin, "x", []string{"true"}, container.ProcessOptions{})
	_, calls["list processes"] = k.ListProcesses(t.Context(), admin, "x")
	_, calls["dial port"] = k.DialPort(t.Context(), admin, "x", 80)
	_, calls["list ports"] = k.ListeningPorts(t.Context(), admin, "x")
	maps.Copy(calls, everything(t.Context(), k.ContainerService, admin, "x"))
	for name, err := range calls {
		if name == "get" || name == "check" || name == "delete" {
			if err != nil { // they say what is recorded, or close that and leave the container
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if e := wantCode(t, err, session.CodeContainerLost); e.Detail != "another container has its name" {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := k.rt.Get(t.Context(), "x")
	if err != nil || c.ID != made.ID || c.Status != container.StatusRunning || c.Paused {
		t.Errorf("the other container is %+v, error %v", c, err)
	}
	for _, op := range []string{"exec", "attach", "logs", "stats", "stop", "pause", "unpause", "remove",
		"listterminals"} {
		if n := k.engine.Calls(op); n != 0 {
			t.Errorf("the engine was asked for %d of %s", n, op)
		}
	}
}
