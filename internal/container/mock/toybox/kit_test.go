package toybox_test

import (
	"bytes"
	"testing"

	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine is a system whose main process only waits.
type machine struct {
	*toybox.System
	commands *toybox.Commands
}

func boot(t testing.TB, env ...string) machine {
	t.Helper()
	m := machine{commands: toybox.NewCommands()}
	m.System = toybox.NewSystem(toybox.Config{Files: new(toybox.FileSystem), Commands: m.commands, Env: env})
	if err := m.Start(toybox.Spec{Args: []string{"sleep", "infinity"}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Main().Signal(toybox.SIGKILL)
		<-m.Done()
	})
	return m
}

// result is how a script ended, and what it wrote.
type result struct {
	code           int
	stdout, stderr string
}

// sh runs a script to its end.
func (m machine) sh(t testing.TB, script string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	p, err := m.Spawn(toybox.Spec{Args: []string{"sh", "-c", script}, Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	return result{p.ExitCode(), stdout.String(), stderr.String()}
}
