package docker_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// TestExecOfEnded: of an exec whose container ends before it is started, Docker says that there is
// no such exec.
func TestExecOfEnded(t *testing.T) {
	for status, want := range map[string]error{
		"exited": container.ErrContainerStopped, "running": container.ErrRefused,
	} {
		p := newFakeExecs(t, &fakeExecs{status: status, start: func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusNotFound, map[string]string{"message": "No such exec instance: cmd"})
		}}).open(t)
		_, err := p.Exec(t.Context(), "a", []string{"true"}, container.ExecOptions{})
		if container.ClassOf(err) != want {
			t.Errorf("%s: got %v; want %v", status, err, want)
		}
	}
}

// TestExecEndsUnseen: a command whose end comes a while after its output's has ended by itself,
// although nothing in its container can tell whether it has closed its output.
func TestExecEndsUnseen(t *testing.T) {
	for script, after := range map[int]time.Duration{
		127: 2500 * time.Millisecond, // no shell
		1:   600 * time.Millisecond,
		4:   600 * time.Millisecond, // no process is seen
	} {
		t.Run(fmt.Sprint(script), func(t *testing.T) {
			t.Parallel()
			var started time.Time
			p := newFakeExecs(t, &fakeExecs{status: "running", script: script,
				start: func(w http.ResponseWriter, _ *http.Request) {
					started = time.Now()
					hijacked(w, frame("ok\n")).Close()
				},
				inspect: func() map[string]any {
					if time.Since(started) < after {
						return map[string]any{"Running": true, "Pid": 5}
					}
					return map[string]any{"Running": false, "Pid": 5, "ExitCode": 3}
				}}).open(t)
			res, err := p.Exec(t.Context(), "a", []string{"/program"}, container.ExecOptions{})
			if err != nil || res.ExitCode != 3 || res.Stdout != "ok\n" {
				t.Errorf("got %+v, %v", res, err)
			}
		})
	}
}
