package systemtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// TestStoreLost loses the database of a daemon that was killed: the next one says what is left on
// the engine and whose it is, and makes it its sessions again, or removes it, on a person's word.
func TestStoreLost(t *testing.T) {
	host, engine := sharedEngine(t)
	d := newDaemon(t, host)
	id, idle := sessionID(t, 0), sessionID(t, 1)
	lose := func(ids ...string) (lost string) {
		t.Helper()
		d.start()
		lost = d.instance()
		t.Cleanup(func() { removeAll(t, engine, lost) })
		for _, id := range ids {
			if _, err := d.api.CreateSession(t.Context(), v1.CreateSessionRequest{ID: id, Project: "p",
				Spec:  v1.Spec{Cmd: []string{"sleep", "3600"}, Labels: map[string]string{"color": "blue"}},
				Start: new(id != idle)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		d.kill()
		files, err := filepath.Glob(d.database() + "*")
		if err != nil || len(files) == 0 {
			t.Fatalf("database files: %q, %v", files, err)
		}
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
		d.start()
		return lost
	}
	octobot := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), binary, args...)
		cmd.Env = append(os.Environ(), "OCTOBOT_DATA_DIR="+d.dir, "OCTOBOT_DOCKER_HOST="+host)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}

	lost := lose(id, idle)
	err := d.create(t.Context(), id)
	if client.CodeOf(err) != v1.CodeSessionExists || !strings.Contains(err.Error(), "the installation "+lost+" has") {
		t.Errorf("an ID that is taken: %v", err)
	}
	for _, args := range [][]string{{"doctor"}, {"reconcile", "--dry-run"}} {
		eventually(t, time.Minute, "the lost installation to be told of", func(context.Context) error {
			said, err := octobot(args...) // a busy engine is not ready at times
			if err == nil && (!strings.Contains(said, "octobot adopt "+lost) || !strings.Contains(said, id)) {
				t.Fatalf("%s: %s", args, said)
			}
			return err
		})
	}
	if said, err := octobot("adopt", lost); err == nil || !strings.Contains(said, "another daemon is using it") {
		t.Errorf("adopt beside the daemon: %v, %s", err, said)
	}
	d.stop()
	if said, err := octobot("adopt", "nobody"); err == nil {
		t.Errorf("adopt nobody's: %s", said)
	}
	if said, err := octobot("adopt", lost); err != nil || !strings.Contains(said, "2 sessions.") {
		t.Fatalf("adopt: %v, %s", err, said)
	}
	d.start()
	if got := d.instance(); got != lost {
		t.Errorf("it is the installation %s, not %s", got, lost)
	}
	for id, want := range map[string]v1.Status{id: v1.StatusRunning, idle: v1.StatusCreated} {
		s, err := d.api.GetSession(t.Context(), id)
		if err != nil || s.Status != want || s.Project != "p" || s.Spec.Image != testImage() ||
			s.Spec.Labels["color"] != "blue" {
			t.Errorf("%s is %+v, error %v", id, s, err)
		}
	}
	if r, err := d.api.Exec(t.Context(), id, v1.ExecRequest{Cmd: []string{"echo", "back"}}); err != nil ||
		string(r.Stdout) != "back\n" {
		t.Errorf("a command: %+v, %v", r, err)
	}
	if _, err := d.api.StartSession(t.Context(), idle); err != nil {
		t.Error(err)
	}
	report, err := d.api.Reconcile(t.Context(), client.ReconcileOptions{DryRun: true})
	// The engine has other tests' containers as well.
	own := slices.DeleteFunc(report.Fates, func(f v1.Fate) bool { return f.Instance != "" })
	if err != nil || len(own) != 2 || slices.ContainsFunc(own, func(f v1.Fate) bool { return f.Action != "keep" }) {
		t.Errorf("the dry run says %+v, %v", report, err)
	}
	for _, id := range []string{id, idle} {
		if err := d.api.DeleteSession(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if left := containers(t, engine, lost); len(left) != 0 {
		t.Errorf("%d containers are left of closed sessions", len(left))
	}
	d.stop()

	lost = lose(idle)
	if said, err := octobot("reconcile", "--allow-removals", "--instance", lost); err != nil {
		t.Errorf("reconcile: %v, %s", err, said)
	}
	if left := containers(t, engine, lost); len(left) != 0 {
		t.Errorf("%d containers are left", len(left))
	}
}
