package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

func start(t *testing.T, c *client.Client, req v1.StartProcessRequest) v1.Process {
	t.Helper()
	p, err := c.StartProcess(t.Context(), "s", req)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestProcess starts one, reads it while it runs, signals it and waits for it.
func TestProcess(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "")
	p := start(t, f.admin, v1.StartProcessRequest{Cmd: []string{"sh", "-c", "echo out; echo err >&2; sleep 1000"}})
	if !p.Running || p.ID == "" || p.ExitCode != nil || p.Ended != nil {
		t.Errorf("started %+v", p)
	}
	var out, errs bytes.Buffer
	read := make(chan error, 1)
	var last v1.ProcessOutput
	go func() {
		var err error
		last, err = f.admin.ProcessOutput(t.Context(), "s", p.ID, client.OutputOptions{Follow: true}, &out, &errs)
		read <- err
	}()
	for { // until all was written
		now, err := f.admin.ProcessOutput(t.Context(), "s", p.ID, client.OutputOptions{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if now.Process.Position == 8 {
			break
		}
	}
	if err := f.admin.SignalProcess(t.Context(), "s", p.ID, "SIGKILL"); err != nil {
		t.Fatal(err)
	}
	ended, err := f.admin.WaitProcess(t.Context(), "s", p.ID)
	if err != nil || ended.Running || ended.ExitCode == nil || *ended.ExitCode != 137 || ended.Ended == nil {
		t.Errorf("ended %+v, %v", ended, err)
	}
	if err := <-read; err != nil || out.String() != "out\n" || errs.String() != "err\n" || last.Missed != 0 ||
		last.Process.Position != 8 || last.Process.Running {
		t.Errorf("read %q, %q, %+v, %v", out.String(), errs.String(), last, err)
	}
	list, err := f.admin.ListProcesses(t.Context(), "s")
	if err != nil || len(list) != 1 || list[0].ID != p.ID {
		t.Errorf("processes %+v, %v", list, err)
	}
}

// TestWaitEnds with its caller, and the process goes on.
func TestWaitEnds(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "")
	p := start(t, f.admin, v1.StartProcessRequest{Cmd: []string{"sleep", "1000"}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.admin.WaitProcess(ctx, "s", p.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	list, err := f.admin.ListProcesses(t.Context(), "s")
	if err != nil || len(list) != 1 || !list[0].Running {
		t.Errorf("processes %+v, %v", list, err)
	}
}

func TestProcessRefusals(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "web")
	p := start(t, f.admin, v1.StartProcessRequest{Cmd: []string{"sleep", "1000"}})
	_, stranger := f.token(t, "stranger", "other")
	ctx := t.Context()
	for name, tt := range map[string]struct {
		err  func(c *client.Client, id string) error
		want v1.Code
	}{
		"start": {func(c *client.Client, _ string) error {
			_, err := c.StartProcess(ctx, "s", v1.StartProcessRequest{Cmd: []string{"no-such-program"}})
			return err
		}, v1.CodeExecFailed},
		"wait": {func(c *client.Client, id string) error {
			_, err := c.WaitProcess(ctx, "s", id)
			return err
		}, v1.CodeProcessNotFound},
		"output": {func(c *client.Client, id string) error {
			_, err := c.ProcessOutput(ctx, "s", id, client.OutputOptions{}, nil, nil)
			return err
		}, v1.CodeProcessNotFound},
		"signal": {func(c *client.Client, id string) error {
			return c.SignalProcess(ctx, "s", id, "")
		}, v1.CodeProcessNotFound},
	} {
		if err := tt.err(f.admin, "none"); client.CodeOf(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
		if err := tt.err(stranger, p.ID); client.CodeOf(err) != v1.CodeSessionNotFound {
			t.Errorf("%s by a stranger: %v", name, err)
		}
	}
	_, err := f.admin.ProcessOutput(ctx, "s", p.ID, client.OutputOptions{Since: 5}, nil, nil)
	wantCode(t, err, v1.CodeInvalidArgument)
	wantCode(t, f.admin.SignalProcess(ctx, "s", p.ID, "NONE"), v1.CodeInvalidArgument)
	_, err = f.admin.StartProcess(ctx, "s", v1.StartProcessRequest{})
	wantCode(t, err, v1.CodeInvalidArgument)
	_, err = f.admin.StartProcess(ctx, "s", v1.StartProcessRequest{Cmd: []string{"true"}, Keep: 1 << 40})
	if e := wantCode(t, err, v1.CodeInvalidArgument); !strings.Contains(e.Detail, "keep") {
		t.Errorf("detail %q", e.Detail)
	}
}
