package docker_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
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

// TestEventsByEngineClock has an engine behind a socket of this host whose clock is an hour off, as
// that of a virtual machine: the event of a command's end is found all the same.
func TestEventsByEngineClock(t *testing.T) {
	seconds := func(r *http.Request, name string) float64 {
		s, err := strconv.ParseFloat(r.URL.Query().Get(name), 64)
		if err != nil {
			t.Error(err)
		}
		return s
	}
	for _, off := range []time.Duration{-time.Hour, -time.Minute, 0, time.Minute, time.Hour} {
		var at time.Time
		clock := func() time.Time { return time.Now().Add(off) }
		execs := newFakeExecs(t, &fakeExecs{status: "running",
			start: func(w http.ResponseWriter, _ *http.Request) {
				at = clock()
				hijacked(w, frame("ok\n")).Close()
			},
			inspect: func() map[string]any { return map[string]any{"Running": false, "Pid": 5, "ExitCode": 126} }})
		execs.mu.Lock()
		execs.handlers["GET /_ping"] = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Api-Version", "1.41")
			w.Header().Set("Date", clock().UTC().Format(http.TimeFormat))
		}
		execs.handlers["GET /events"] = func(w http.ResponseWriter, r *http.Request) {
			if s := float64(at.UnixNano()) / 1e9; s >= seconds(r, "since") && s <= seconds(r, "until") {
				answer(w, http.StatusOK, map[string]any{"Type": "container", "Action": "exec_die",
					"Actor":    map[string]any{"Attributes": map[string]string{"execID": "cmd"}},
					"timeNano": at.UnixNano()})
			}
		}
		execs.mu.Unlock()
		res, err := execs.open(t).Exec(t.Context(), "a", []string{"sh"}, container.ExecOptions{})
		if err != nil || res.ExitCode != 126 {
			t.Errorf("%v off: got %+v, %v", off, res, err)
		}
	}
}

// TestExecOnTerminalWithoutShell has commands of an image without a shell on a terminal that has a
// size: one that does not start, and ones that nothing is learnt of, or can't have the size.
func TestExecOnTerminalWithoutShell(t *testing.T) {
	const reason = "OCI runtime exec failed: exec: \"nope\": executable file not found in $PATH"
	refusal := func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusInternalServerError, map[string]string{"message": "disk I/O error"})
	}
	runs := map[string]any{"Running": true, "Pid": 5}
	for name, tt := range map[string]struct {
		says            string
		state           map[string]any
		inspect, resize http.HandlerFunc // of the command, instead
		want            error
		words           string
	}{
		"not started": {says: reason + "\r\n", state: map[string]any{"Running": false, "ExitCode": 127, "Pid": 0},
			want: container.ErrExecFailed, words: reason},
		"not seen":  {inspect: refusal, want: container.ErrRefused, words: "disk I/O error"},
		"not sized": {state: runs, resize: refusal, want: container.ErrRefused, words: "disk I/O error"},
	} {
		t.Run(name, func(t *testing.T) {
			left := make(chan struct{})
			execs := newFakeExecs(t, &fakeExecs{status: "running", script: 127,
				start: func(w http.ResponseWriter, _ *http.Request) {
					defer close(left)
					conn := hijacked(w, "")
					defer conn.Close()
					if tt.says != "" {
						time.Sleep(50 * time.Millisecond) // as it comes of an engine: after the end is told
						fmt.Fprint(conn, tt.says)
						return
					}
					_, _ = io.Copy(io.Discard, conn)
				},
				inspect: func() map[string]any { return tt.state }})
			execs.mu.Lock()
			if tt.inspect != nil {
				execs.handlers["GET /exec/cmd/json"] = tt.inspect
			}
			execs.handlers["POST /exec/cmd/resize"] = tt.resize
			execs.mu.Unlock()
			_, err := execs.open(t).Exec(t.Context(), "a", []string{"nope"},
				container.ExecOptions{Tty: true, Rows: 24, Cols: 80})
			if container.ClassOf(err) != tt.want || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("got %v; want %v: %s", err, tt.want, tt.words)
			}
			if errors.Is(err, container.ErrMayStillRun) != (tt.says == "") {
				t.Errorf("got %v; want it to say whether the command may still run", err)
			}
			select {
			case <-left:
			case <-time.After(10 * time.Second):
				t.Error("the connection is left open")
			}
		})
	}
}
