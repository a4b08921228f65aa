package cli

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// serve starts a daemon as a process, and waits until it serves.
func serve(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0],
		append([]string{"--data-dir", dir, "serve", "--runtime", "mock", "--listen", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), asOctobot+"=1")
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "octobot serves on unix://"+dir) ||
		!strings.Contains(line, " and http://127.0.0.1:") {
		t.Fatalf("the daemon says %q, %v", line, err)
	}
	return cmd
}

func signalAndWait(t *testing.T, cmd *exec.Cmd, sig syscall.Signal) *os.ProcessState {
	t.Helper()
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the state says how
	return cmd.ProcessState
}

func TestServeEndsInGoodOrder(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		dir := shortDir(t)
		cmd := serve(t, dir)
		must(t, dir, "create", "demo")
		if state := signalAndWait(t, cmd, sig); !state.Success() {
			t.Errorf("%s: %s", sig, state)
		}
		if _, err := os.Stat(dir + "/octobot.sock"); err == nil {
			t.Errorf("%s: the socket is left", sig)
		}
	}
}

func TestServeAfterKill(t *testing.T) {
	dir := shortDir(t)
	cmd := serve(t, dir)
	must(t, dir, "create", "--no-start", "demo")
	must(t, dir, "token", "create", "laptop")
	signalAndWait(t, cmd, syscall.SIGKILL)
	serve(t, dir)
	must(t, dir, "reconcile")
	if got := must(t, dir, "ls", "-q"); got != "demo\n" {
		t.Errorf("sessions after SIGKILL: %q", got)
	}
	if got := must(t, dir, "token", "ls"); !strings.Contains(got, "laptop") {
		t.Errorf("tokens after SIGKILL: %q", got)
	}
}

func TestServeTwice(t *testing.T) {
	dir := startDaemon(t)
	if r := octobot(t, dir, "serve", "--runtime", "mock", "--listen="); r.code != 1 ||
		!strings.Contains(r.stderr, "another daemon") {
		t.Errorf("second daemon: %+v", r)
	}
}

// TestStrayVariables: a variable that is misspelt is told of by who would have read it.
func TestStrayVariables(t *testing.T) {
	dir := startDaemon(t)
	t.Setenv("OCTOBOT_LISTN", "127.0.0.1:1")
	if r := octobot(t, dir, "ls", "-q"); r != (result{}) {
		t.Errorf("ls tells of the daemon's: %+v", r)
	}
	t.Setenv("OCTOBOT_ULR", "http://127.0.0.1:1")
	const want = "octobot: warning: OCTOBOT_ULR is not a variable of octobot's, and has no effect; did you mean OCTOBOT_URL?\n"
	if r := octobot(t, dir, "ls"); !strings.HasPrefix(r.stderr, want) {
		t.Errorf("ls: %+v", r)
	}
	// The directory is another daemon's, so this one ends at once.
	r := octobot(t, dir, "serve", "--runtime", "mock")
	if r.code == 0 || !strings.Contains(r.stderr, "did you mean OCTOBOT_LISTEN?") || !strings.Contains(r.stderr, want) {
		t.Errorf("serve: %+v", r)
	}
}
