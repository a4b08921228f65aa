package systemtest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// TestAgentSurvivesEngine kills a dockerd that leaves its containers running, with commands under
// way through an agent: they end, and their callers hear; what a finished one has left in the
// background goes on; and when the engine is back, so are commands, through another agent.
func TestAgentSurvivesEngine(t *testing.T) {
	engine := newDockerd(t, "--live-restore")
	d := newDaemon(t, engine.host())
	d.start()
	const id = "survives"
	if err := d.create(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	sh := func(ctx context.Context, script string) (string, error) {
		r, err := d.api.Exec(ctx, id, v1.ExecRequest{Cmd: []string{"sh", "-c", script}})
		return strings.TrimSpace(string(r.Stdout)), err
	}
	if _, err := sh(t.Context(), "sleep 888 >/dev/null 2>&1 </dev/null &"); err != nil {
		t.Fatal(err)
	}
	heard := make(chan error, 10)
	for range cap(heard) {
		go func() {
			_, err := sh(t.Context(), "sleep 777 & wait")
			heard <- err
		}()
	}
	const both = "ps | grep -c '[s]leep 777$' || true; ps | grep -c '[s]leep 888' || true"
	eventually(t, time.Minute, "the commands", func(ctx context.Context) error {
		if said, err := sh(ctx, both); err != nil || said != "10\n1" {
			return fmt.Errorf("%q, %w", said, err)
		}
		return nil
	})
	engine.kill()
	for range cap(heard) {
		if err := <-heard; err == nil {
			t.Error("a command has ended well that was cut")
		}
	}
	engine.start()
	eventually(t, 2*time.Minute, "commands to be back, and the old ones gone", func(ctx context.Context) error {
		if said, err := sh(ctx, both); err != nil || said != "0\n1" {
			return fmt.Errorf("%q, %w", said, err)
		}
		return nil
	})
	if s, err := d.api.GetSession(t.Context(), id); err != nil || s.Exec == nil || s.Exec.Path != v1.ExecAgent {
		t.Errorf("commands take the path %+v, %v", s.Exec, err)
	}
	if said, err := sh(t.Context(), "tr '\\0' ' ' </proc/$PPID/cmdline"); err != nil ||
		!strings.Contains(said, "octobot-agent") {
		t.Errorf("a command is the child of %q, %v", said, err)
	}
}
