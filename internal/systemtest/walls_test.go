package systemtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// freeAddress returns a TCP address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// project returns a client with a token, of that name, of a project of that name.
func (d *daemon) project(address, name string) *client.Client {
	d.t.Helper()
	token, err := d.api.CreateToken(d.t.Context(), v1.CreateTokenRequest{Name: name, Project: name})
	if err != nil {
		d.t.Fatal(err)
	}
	c, err := client.New(client.Options{URL: "http://" + address, Token: token.Secret})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(c.Close)
	return c
}

// onEachEngine runs a test on Docker and on Podman.
func onEachEngine(t *testing.T, test func(t *testing.T, host string)) {
	for _, name := range []string{"DOCKER", "PODMAN"} {
		t.Run(strings.ToLower(name), func(t *testing.T) {
			host := os.Getenv("OCTOBOT_TEST_" + name + "_HOST")
			if host == "" {
				t.Skipf("OCTOBOT_TEST_%s_HOST is not set; run make test", name)
			}
			test(t, host)
		})
	}
}

// TestProjectTokenIsHeld asks, with a token that reaches one project, for what that does not go
// with; the daemon is killed then, and the audit log has it all.
func TestProjectTokenIsHeld(t *testing.T) {
	onEachEngine(t, func(t *testing.T, host string) {
		address, record := freeAddress(t), filepath.Join(t.TempDir(), "audit.log")
		d := newDaemon(t, host, "--listen", address, "--audit-log", record, "--default-memory", "256m",
			"--policy-project-sessions", "2")
		d.start()
		instance := d.instance()
		t.Cleanup(func() { removeAll(t, engineClient(t, host), instance) })
		lab := d.project(address, "lab")
		create := func(id string, spec v1.Spec) error {
			spec.Cmd = []string{"sleep", "3600"}
			_, err := lab.CreateSession(t.Context(), v1.CreateSessionRequest{ID: id, Spec: spec}, nil)
			return err
		}
		ids := []string{sessionID(t, 0), sessionID(t, 1)}
		for _, id := range ids {
			if err := create(id, v1.Spec{}); err != nil {
				t.Fatal(err)
			}
		}
		for name, tt := range map[string]struct {
			spec v1.Spec
			code v1.Code
		}{
			"network":      {v1.Spec{NetworkMode: "bridge"}, v1.CodePolicyDenied},
			"host network": {v1.Spec{NetworkMode: "host"}, v1.CodeInvalidArgument},
			"runtime":      {v1.Spec{Runtime: "crun-vm"}, v1.CodePolicyDenied},
			"memory":       {v1.Spec{Resources: v1.Resources{Memory: new(int64(1 << 40))}}, v1.CodePolicyDenied},
			"no limit":     {v1.Spec{Resources: v1.Resources{Memory: new(int64(0))}}, v1.CodePolicyDenied},
			"processes":    {v1.Spec{Resources: v1.Resources{PIDs: new(int64(4 << 20))}}, v1.CodePolicyDenied},
			"host port":    {v1.Spec{PortBindings: map[string]string{"80": "22"}}, v1.CodePolicyDenied},
			"registry":     {v1.Spec{Image: "127.0.0.1:2024/x"}, v1.CodePolicyDenied},
			"one more":     {v1.Spec{}, v1.CodeQuotaExceeded},
		} {
			if err := create(sessionID(t, 2), tt.spec); client.CodeOf(err) != tt.code {
				t.Errorf("%s: %v, want %s", name, err, tt.code)
			}
		}
		if got := containers(t, engineClient(t, host), instance); len(got) != len(ids) {
			t.Errorf("%d containers, want %d", len(got), len(ids))
		}
		if _, err := d.api.GetSession(t.Context(), ids[0]); err != nil {
			t.Error(err)
		}
		other := d.project(address, "other")
		if err := other.DeleteSession(t.Context(), ids[0]); client.CodeOf(err) != v1.CodeSessionNotFound {
			t.Errorf("another project's delete: %v", err)
		}

		ended := make(chan error, 1)
		go func() {
			_, err := lab.ExecStream(t.Context(), ids[0], v1.ExecRequest{Cmd: []string{"sleep", "1234"}},
				client.Streams{})
			ended <- err
		}()
		runs := func(ctx context.Context) (bool, error) {
			r, err := d.api.Exec(ctx, ids[0], v1.ExecRequest{Cmd: []string{"ps"}})
			return strings.Contains(string(r.Stdout), "sleep 1234"), err
		}
		eventually(t, time.Minute, "the command runs", func(ctx context.Context) error {
			if ok, err := runs(ctx); err != nil || !ok {
				return fmt.Errorf("runs: %t, %w", ok, err)
			}
			return nil
		})
		if err := d.api.DeleteToken(t.Context(), "lab"); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; client.CodeOf(err) != v1.CodeUnauthenticated {
			t.Errorf("the command of a deleted token ended with %v", err)
		}
		eventually(t, time.Minute, "the command is gone", func(ctx context.Context) error {
			if ok, err := runs(ctx); err != nil || ok {
				return fmt.Errorf("runs: %t, %w", ok, err)
			}
			return nil
		})
		if _, err := lab.Info(t.Context()); client.CodeOf(err) != v1.CodeUnauthenticated {
			t.Errorf("the deleted token: %v", err)
		}

		d.kill()
		text, err := os.ReadFile(record)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			`"principal":"lab","project":"lab","address":"127.0.0.1:`,
			`"code":"policy_denied","detail":"network_mode: `,
			`"code":"quota_exceeded"`, `"operation":"delete token"`, `"code":"session_not_found"`,
			`"operation":"exec","session":"` + ids[0] + `","outcome":"failed"`, `"code":"unauthenticated"`,
		} {
			if !strings.Contains(string(text), want) {
				t.Errorf("the audit log has no %s:\n%s", want, text)
			}
		}
	})
}

// TestFewFileDescriptors has strangers keep more connections than the process may have files: the
// Unix socket's user and whoever has a token get through.
func TestFewFileDescriptors(t *testing.T) {
	address := freeAddress(t)
	d := newDaemon(t, "", "--runtime", "mock", "--listen", address)
	d.wrap = []string{"prlimit", "--nofile=256:256"}
	d.start()
	lab := d.project(address, "lab")
	var conns []net.Conn
	for range 400 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprint(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil &&
			!errors.Is(err, net.ErrClosed) {
			continue // it was closed, to make room
		}
		conns = append(conns, conn)
	}
	if len(conns) < 200 {
		t.Fatalf("only %d connections were made", len(conns))
	}
	for name, c := range map[string]*client.Client{"the socket": d.api, "a token": lab} {
		if _, err := c.ListSessions(t.Context(), client.ListOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
