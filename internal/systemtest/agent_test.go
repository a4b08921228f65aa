package systemtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// TestAgentOutlivesNoDaemon kills a daemon amid commands that run through agents: nothing of them
// is left, what finished ones have left in the background goes on, and the next daemon has agents
// anew. A session that was made without the agent goes on without.
func TestAgentOutlivesNoDaemon(t *testing.T) {
	onEachEngine(t, func(t *testing.T, host string) {
		d := newDaemon(t, host, "--agent", "off")
		d.start()
		instance := d.instance()
		engine := engineClient(t, host)
		t.Cleanup(func() { removeAll(t, engine, instance) })
		old, id := sessionID(t, 0), sessionID(t, 1)
		if err := d.create(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		d.stop()
		d.args = append(d.args, "--agent", "auto") // the last one counts
		d.start()
		if _, err := d.api.CreateSession(t.Context(), v1.CreateSessionRequest{ID: id,
			Spec: v1.Spec{Cmd: []string{"sleep", "3600"}}}, nil); err != nil {
			t.Fatal(err)
		}
		sh := func(ctx context.Context, id, script string) (string, error) {
			r, err := d.api.Exec(ctx, id, v1.ExecRequest{Cmd: []string{"sh", "-c", script}})
			return strings.TrimSpace(string(r.Stdout)), err
		}
		byAgent := func(id string) bool {
			t.Helper()
			said, err := sh(t.Context(), id, "tr '\\0' ' ' </proc/$PPID/cmdline")
			if err != nil && client.CodeOf(err) != "" {
				t.Fatal(err)
			}
			return strings.Contains(said, "octobot-agent")
		}
		if byAgent(old) || !byAgent(id) {
			t.Errorf("commands run by an agent: %t in the session made before, %t in the new one", byAgent(old),
				byAgent(id))
		}
		for id, want := range map[string]v1.Exec{
			id:  {Path: v1.ExecAgent},
			old: {Path: v1.ExecEngine, Reason: "the container was made without the agent"},
		} {
			if s, err := d.api.GetSession(t.Context(), id); err != nil || s.Exec == nil || *s.Exec != want {
				t.Errorf("the session says of its commands %+v, %v; want %+v", s.Exec, err, want)
			}
		}
		d.checkMetrics(map[string]string{
			`octobot_exec_duration_seconds_count{path="agent"}`:      "1",
			`octobot_exec_duration_seconds_count{path="engine"}`:     "1",
			`octobot_agent_fallbacks_total{reason="without"}`:        "1",
			`octobot_agent_fallbacks_total{reason="no_answer"}`:      "0",
			`octobot_agent_dial_duration_seconds_count{result="ok"}`: "1",
			`octobot_agent_links`:                                    "1",
			`octobot_agent_streams`:                                  "0",
		})
		if _, err := sh(t.Context(), id, "sleep 888 >/dev/null 2>&1 </dev/null &"); err != nil {
			t.Fatal(err)
		}
		for range 50 {
			go func() { _, _ = sh(t.Context(), id, "sleep 777") }()
		}
		count := func(ctx context.Context, what string) (n string, err error) {
			return sh(ctx, id, "ps | grep -c '["+what[:1]+"]"+what[1:]+"' || true")
		}
		wait := func(what, want string) {
			t.Helper()
			eventually(t, time.Minute, what, func(ctx context.Context) error {
				if n, err := count(ctx, what); err != nil || n != want {
					return fmt.Errorf("%s processes, %w", n, err)
				}
				return nil
			})
		}
		wait("sleep 777", "50")
		d.kill()
		d.start()
		wait("sleep 777", "0")
		wait("sleep 888", "1")
		if byAgent(old) || !byAgent(id) {
			t.Error("after the restart, commands go other ways")
		}
	})
}

// TestBench has octobot compare the engine's exec with the agent, and looks for what it leaves.
func TestBench(t *testing.T) {
	onEachEngine(t, func(t *testing.T, host string) {
		d := newDaemon(t, host)
		d.start()
		out, err := exec.CommandContext(t.Context(), binary, "bench", "--data-dir", d.dir, "--count", "10",
			"--duration", "200ms", "-o", "json").Output()
		if err != nil {
			t.Fatal(err)
		}
		var report struct {
			Engine struct {
				P50 float64 `json:"p50_ms"`
			} `json:"engine"`
			Agent *struct {
				P50 float64 `json:"p50_ms"`
			} `json:"agent"`
		}
		if err := json.Unmarshal(out, &report); err != nil {
			t.Fatal(err)
		}
		if report.Agent == nil || report.Agent.P50 <= 0 || report.Engine.P50 <= 0 {
			t.Errorf("it has not measured both: %s", out)
		}
		for s, err := range d.api.Sessions(t.Context(), client.ListOptions{}) {
			t.Errorf("left: %s, %v", s.ID, err)
		}
	})
}

// checkMetrics reads the daemon's metrics.
func (d *daemon) checkMetrics(want map[string]string) {
	d.t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(d.dir, "octobot.sock"))
	}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://octobot/metrics")
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	for name, value := range want {
		if line := name + " " + value + "\n"; !strings.Contains(string(text), "\n"+line) {
			d.t.Errorf("the metrics have no line %q", line)
		}
	}
	if d.t.Failed() {
		d.t.Logf("metrics:\n%s", text)
	}
}
