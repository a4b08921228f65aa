package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/httpapi"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestOpenAPIIsCurrent(t *testing.T) {
	const golden = "../../api/v1/openapi.json"
	api := httpapi.New(nil, front.New(nil, front.Config{}), httpapi.Config{})
	var got bytes.Buffer
	if err := json.Indent(&got, api.OpenAPI(), "", "  "); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s does not describe the API as it is: go test ./internal/httpapi -run OpenAPI -update", golden)
	}
}

// The words of the wire are the service's words.
func TestWireHasTheServicesWords(t *testing.T) {
	for _, code := range session.Codes() {
		if !slices.Contains(v1.Codes(), v1.Code(code)) {
			t.Errorf("code %s is not on the wire", code)
		}
	}
	if len(problem.Statuses) != len(v1.Codes()) {
		t.Errorf("%d statuses for %d codes", len(problem.Statuses), len(v1.Codes()))
	}
	for _, code := range v1.Codes() {
		if status := problem.Statuses[code]; status < 400 || status > 599 {
			t.Errorf("code %s has the status %d", code, status)
		}
	}
	for i, status := range session.Statuses() {
		if v1.Statuses()[i] != v1.Status(status) {
			t.Errorf("status %s is %s on the wire", status, v1.Statuses()[i])
		}
	}
}

func TestLife(t *testing.T) {
	f := newFixture(t, settings{})
	ctx, c := t.Context(), f.admin

	start := false
	created, err := c.CreateSession(ctx, v1.CreateSessionRequest{
		ID: "life", Project: "p1", Start: &start,
		Spec: v1.Spec{
			Image: "debian:12", Cmd: []string{"sleep", "3600"}, Env: []string{"A=b"},
			Labels:       map[string]string{"l": "m"},
			PortBindings: map[string]string{"3000/tcp": ""}, WorkingDir: "/tmp", User: "user",
			Resources: v1.Resources{CPUs: new(1.5), Memory: new(int64(64 << 20)), PIDs: new(int64(100))},
			Tmpfs:     map[string]string{"/t": "size=1m"},
			ReadOnly:  true, IdleTimeout: new(v1.Duration(30 * time.Minute)), MaxAge: new(v1.Duration(time.Hour)),
			OnExpire: v1.ExpireClose, Agent: v1.AgentOff,
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if created.ID != "life" || created.Project != "p1" || created.Status != v1.StatusCreated ||
		created.Image != "debian:12" ||
		*created.Resources.CPUs != 1.5 || *created.Resources.Memory != 64<<20 || *created.Resources.PIDs != 100 ||
		created.OnExpire != "close" || created.Agent != "off" ||
		*created.IdleTimeout != v1.Duration(30*time.Minute) || !created.ReadOnly || created.StartedAt != nil ||
		created.ContainerID == "" {
		t.Errorf("created %+v", created)
	}
	started, err := c.StartSession(ctx, "life")
	if err != nil || started.Status != v1.StatusRunning || started.Address == "" || len(started.Ports) != 2 ||
		started.StartedAt == nil {
		t.Fatalf("started %+v, %v", started, err)
	}
	got, err := c.GetSession(ctx, "life")
	if err != nil || got.Address != started.Address {
		t.Errorf("got %+v, %v", got, err)
	}
	stopped, err := c.StopSession(ctx, "life", 0)
	if err != nil || stopped.Status != v1.StatusStopped || stopped.Exit == nil || stopped.Exit.Code != 137 {
		t.Errorf("stopped %+v, %v", stopped, err)
	}
	for range 2 {
		if err := c.DeleteSession(ctx, "life"); err != nil {
			t.Error(err)
		}
	}
	if got, err = c.GetSession(ctx, "life"); err != nil || got.Status != v1.StatusClosed || got.ClosedAt == nil {
		t.Errorf("after its end: %+v, %v", got, err)
	}
	_, err = c.StartSession(ctx, "life")
	wantCode(t, err, v1.CodeSessionClosed)
	_, err = c.GetSession(ctx, "never")
	if e := wantCode(t, err, v1.CodeSessionNotFound); e.SessionID != "never" || e.Hint == "" {
		t.Errorf("error %+v", e)
	}
}

func TestPause(t *testing.T) {
	f := newFixture(t, settings{})
	ctx, c := t.Context(), f.admin
	f.running(t, "s", "p")
	paused, err := c.PauseSession(ctx, "s")
	if err != nil || paused.Status != v1.StatusRunning || !paused.Paused || paused.Reason != "paused" {
		t.Errorf("paused %+v, %v", paused, err)
	}
	page, err := c.ListSessions(ctx, client.ListOptions{})
	if err != nil || len(page.Sessions) != 1 || !page.Sessions[0].Paused {
		t.Errorf("list %+v, %v", page, err)
	}
	_, err = c.Exec(ctx, "s", v1.ExecRequest{Cmd: []string{"true"}})
	if e := wantCode(t, err, v1.CodeSessionNotRunning); e.Hint != "octobot unpause" {
		t.Errorf("exec: %+v", e)
	}
	unpaused, err := c.UnpauseSession(ctx, "s")
	if err != nil || unpaused.Status != v1.StatusRunning || unpaused.Paused {
		t.Errorf("unpaused %+v, %v", unpaused, err)
	}
	if r, err := c.Exec(ctx, "s", v1.ExecRequest{Cmd: []string{"true"}}); err != nil || r.ExitCode != 0 {
		t.Errorf("exec after that: %+v, %v", r, err)
	}
	if _, err := c.StopSession(ctx, "s", 0); err != nil {
		t.Fatal(err)
	}
	_, err = c.PauseSession(ctx, "s")
	wantCode(t, err, v1.CodeSessionNotRunning)
	_, err = c.UnpauseSession(ctx, "s")
	wantCode(t, err, v1.CodeSessionNotRunning)
	_, err = c.PauseSession(ctx, "never")
	wantCode(t, err, v1.CodeSessionNotFound)
}

// fullStats has a service tell what the mock does not count.
type fullStats struct{ httpapi.Service }

func (fullStats) Stats(context.Context, session.Principal, string) (*container.Stats, error) {
	return &container.Stats{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)), CPUTotal: 1500 * time.Millisecond,
		MemoryUsed: 1, MemoryLimit: 2, PIDs: 3, NetworkReceived: 4, NetworkSent: 5, BlockRead: 6, BlockWritten: 7,
	}, nil
}

func TestStats(t *testing.T) {
	f := newFixture(t, settings{})
	ctx, before := t.Context(), time.Now()
	f.running(t, "s", "")
	stats, err := f.admin.SessionStats(ctx, "s")
	if err != nil || stats.SessionID != "s" || stats.Time.Before(before) || stats.PIDs < 1 {
		t.Errorf("stats %+v, %v", stats, err)
	}
	if _, err := f.admin.StopSession(ctx, "s", 0); err != nil {
		t.Fatal(err)
	}
	_, err = f.admin.SessionStats(ctx, "s")
	wantCode(t, err, v1.CodeSessionNotRunning)
	_, err = f.admin.SessionStats(ctx, "never")
	wantCode(t, err, v1.CodeSessionNotFound)

	f = newFixtureOver(t, settings{}, func(s *session.ContainerService) httpapi.Service { return fullStats{s} })
	f.running(t, "s", "")
	b, err := io.ReadAll(f.do(t, raw{method: "GET", path: "/v1/sessions/s/stats", trusted: true}).Body)
	want := `{"session_id":"s","time":"2026-01-02T02:04:05.000000006Z","cpu_time":"1.5s","memory_used":1,` +
		`"memory_limit":2,"pids":3,"network_received":4,"network_sent":5,"block_read":6,"block_written":7}` + "\n"
	if err != nil || string(b) != want {
		t.Errorf("got %s, %v; want %s", b, err, want)
	}
}

func TestList(t *testing.T) {
	f := newFixture(t, settings{})
	ctx := t.Context()
	for i := range 5 {
		labels := map[string]string{[]string{"even", "odd"}[i%2]: "", "n": strconv.Itoa(i)}
		if _, err := f.admin.CreateSession(ctx, v1.CreateSessionRequest{ID: "s" + strconv.Itoa(i),
			Project: "p" + strconv.Itoa(i%2), Spec: v1.Spec{Labels: labels}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.admin.StopSession(ctx, "s3", 0); err != nil {
		t.Fatal(err)
	}
	if err := f.admin.DeleteSession(ctx, "s4"); err != nil {
		t.Fatal(err)
	}
	ids := func(opts client.ListOptions) (ids []string) {
		t.Helper()
		for s, err := range f.admin.Sessions(ctx, opts) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, s.ID)
		}
		return ids
	}
	for _, c := range []struct {
		opts client.ListOptions
		want []string
	}{
		{client.ListOptions{}, []string{"s3", "s2", "s1", "s0"}},
		{client.ListOptions{Limit: 1}, []string{"s3", "s2", "s1", "s0"}},
		{client.ListOptions{Limit: 3, Closed: true}, []string{"s4", "s3", "s2", "s1", "s0"}},
		{client.ListOptions{Project: "p1"}, []string{"s3", "s1"}},
		{client.ListOptions{Project: "nobody"}, nil},
		{client.ListOptions{Statuses: []v1.Status{v1.StatusStopped}}, []string{"s3"}},
		{client.ListOptions{Labels: []string{"even"}, Limit: 1}, []string{"s2", "s0"}},
		{client.ListOptions{Labels: []string{"even=", "n=2"}}, []string{"s2"}},
		{client.ListOptions{Labels: []string{"even=x"}}, nil},
		{client.ListOptions{Labels: []string{"even", "odd"}}, nil},
		{client.ListOptions{Statuses: []v1.Status{v1.StatusStopped, v1.StatusClosed}}, []string{"s4", "s3"}},
	} {
		if got := ids(c.opts); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.opts, got, c.want)
		}
	}
	_, err := f.admin.ListSessions(ctx, client.ListOptions{Labels: []string{"=x"}})
	wantCode(t, err, v1.CodeInvalidArgument)
	page, err := f.admin.ListSessions(ctx, client.ListOptions{Limit: 2})
	if err != nil || len(page.Sessions) != 2 || page.Next == "" {
		t.Errorf("page %+v, %v", page, err)
	}
}

func TestCreateProgress(t *testing.T) {
	f := newFixture(t, settings{})
	var steps []v1.Progress
	created, err := f.admin.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "s"},
		func(p v1.Progress) { steps = append(steps, p) })
	if err != nil || created.Status != v1.StatusRunning {
		t.Fatalf("created %+v, %v", created, err)
	}
	// What is refused before anything was sent has its own status.
	_, err = f.admin.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "s"}, func(v1.Progress) {})
	wantCode(t, err, v1.CodeSessionExists)
	f.engine.SetImages("debian:12")
	_, err = f.admin.CreateSession(t.Context(), v1.CreateSessionRequest{Spec: v1.Spec{Image: "nobody/has-this"}},
		func(v1.Progress) {})
	wantCode(t, err, v1.CodeImageNotFound)
}

func TestEvents(t *testing.T) {
	f := newFixture(t, settings{}, func(a *httpapi.API) { a.SetTiming(time.Millisecond, 0) })
	go func() {
		// The stream's first sign of life shows that it is subscribed; nothing tells the client, so
		// make events until it has seen what it waits for.
		for i := 0; t.Context().Err() == nil && i < 1000; i++ {
			id := "s" + strconv.Itoa(i)
			if _, err := f.admin.CreateSession(t.Context(), v1.CreateSessionRequest{ID: id, Project: "p"},
				nil); err != nil {
				return
			}
			_ = f.admin.DeleteSession(t.Context(), id)
		}
	}()
	var kinds []string
	for event, err := range f.admin.Events(t.Context(), "p") {
		if err != nil {
			t.Fatal(err)
		}
		if event.Project != "p" || event.SessionID == "" || event.Time.IsZero() {
			t.Fatalf("event %+v", event)
		}
		if !slices.Contains(kinds, event.Kind) {
			kinds = append(kinds, event.Kind)
		}
		if len(kinds) == 3 {
			break
		}
	}
	slices.Sort(kinds)
	if want := []string{v1.KindClosed, v1.KindCreated, v1.KindStarted}; !slices.Equal(kinds, want) {
		t.Errorf("kinds %v, want %v", kinds, want)
	}
}

func TestAdmin(t *testing.T) {
	f := newFixture(t, settings{})
	ctx := t.Context()
	info, err := f.admin.Info(ctx)
	if err != nil || info.Version != "1.2.3" || info.Instance != "inst" || info.Engine == nil ||
		info.Engine.Name != "mock" || !info.Capabilities.Ports {
		t.Errorf("info %+v, %v", info, err)
	}
	if err := f.admin.Ready(ctx); err != nil {
		t.Error(err)
	}
	f.running(t, "s", "")
	report, err := f.admin.Reconcile(ctx, client.ReconcileOptions{DryRun: true})
	if err != nil || !report.DryRun || report.Sessions != 1 || report.Containers != 1 || len(report.Fates) == 0 {
		t.Errorf("report %+v, %v", report, err)
	}
	secret, _ := f.token(t, "t1", "p")
	if len(secret) < 40 {
		t.Errorf("secret %q", secret)
	}
	_, err = f.admin.CreateToken(ctx, v1.CreateTokenRequest{Name: "t1"})
	wantCode(t, err, v1.CodeTokenExists)
	tokens, err := f.admin.ListTokens(ctx)
	if err != nil || len(tokens) != 1 || tokens[0].Name != "t1" || tokens[0].Project != "p" ||
		tokens[0].ExpiresAt != nil {
		t.Errorf("tokens %+v, %v", tokens, err)
	}
	if err := f.admin.DeleteToken(ctx, "t1"); err != nil {
		t.Error(err)
	}
	wantCode(t, f.admin.DeleteToken(ctx, "t1"), v1.CodeTokenNotFound)

	f.engine.SetDown(true)
	// it may be told a second late
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err = f.admin.Ready(ctx); err != nil || time.Now().After(deadline) {
			break
		}
	}
	wantCode(t, err, v1.CodeEngineUnavailable)
	if info, err = f.admin.Info(ctx); err != nil || info.Engine != nil {
		t.Errorf("info %+v, %v", info, err)
	}
	_, err = f.admin.StopSession(ctx, "s", 0)
	wantCode(t, err, v1.CodeEngineUnavailable)
}

func TestUnreachable(t *testing.T) {
	c, err := client.New(client.Options{Socket: t.TempDir() + "/none"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Info(t.Context())
	if _, ok := errors.AsType[*client.UnreachableError](err); !ok {
		t.Errorf("error %v", err)
	}
	_, err = c.Attach(t.Context(), "s", client.AttachOptions{})
	if _, ok := errors.AsType[*client.UnreachableError](err); !ok {
		t.Errorf("attach: error %v", err)
	}
}

// A limit of 0 is none, and not absent; whom the policy does not let have that is told so.
func TestZeroIsNoLimit(t *testing.T) {
	f := newFixture(t, settings{service: session.Config{Memory: 1 << 30, IdleTimeout: time.Hour}})
	secret, _ := f.token(t, "t", "p")
	for _, tt := range []struct {
		body string
		want string // of the answer
		code v1.Code
	}{
		{`{}`, `"memory":1073741824},"idle_timeout":"1h"`, ""},
		{`{"resources":{"memory":0},"idle_timeout":"0s"}`, `"image":"octobot-test","on_expire":"stop"`,
			v1.CodePolicyDenied},
		{`{"resources":{"pids":0}}`, "", v1.CodeInvalidArgument},
		{`{"resources":{"memory":-1}}`, "", v1.CodeInvalidArgument},
		{`{"idle_timeout":"-1ns"}`, "", v1.CodeInvalidArgument},
	} {
		for _, trusted := range []bool{true, false} {
			r := raw{method: "POST", path: "/v1/sessions", body: strings.NewReader(tt.body), trusted: trusted}
			if !trusted {
				r.token = secret
			}
			resp := f.do(t, r)
			if tt.code == v1.CodeInvalidArgument || tt.code != "" && !trusted {
				wantProblem(t, resp, tt.code)
				continue
			}
			b, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != 201 || !strings.Contains(string(b), tt.want) {
				t.Errorf("%s, trusted %t: %s, %s, want %s", tt.body, trusted, resp.Status, b, tt.want)
			}
		}
	}
}
