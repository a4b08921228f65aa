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
