package httpapi_test

import (
	"context"
	"io"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/httpapi"
	"github.com/octobot-run/octobot/internal/session"
)

// fullTop has a service tell what the mock does not.
type fullTop struct{ httpapi.Service }

func (fullTop) Top(context.Context, session.Principal, string) (*container.Top, error) {
	return &container.Top{HostPIDs: true, Processes: []container.RunningProcess{{PID: 1, Parent: 2, User: "u",
		CPUTime: time.Second, Elapsed: time.Minute, Memory: 3, Cmd: "c"}}}, nil
}

func TestTop(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "")
	top, err := f.admin.Top(t.Context(), "s")
	if err != nil || top.HostPIDs || len(top.Processes) != 1 || top.Processes[0].PID != 1 ||
		top.Processes[0].User != "root" || top.Processes[0].Cmd == "" {
		t.Errorf("top %+v, %v", top, err)
	}
	if _, err := f.admin.StopSession(t.Context(), "s", 0); err != nil {
		t.Fatal(err)
	}
	_, err = f.admin.Top(t.Context(), "s")
	wantCode(t, err, v1.CodeSessionNotRunning)

	f = newFixtureOver(t, settings{}, func(s *session.ContainerService) httpapi.Service { return fullTop{s} })
	b, err := io.ReadAll(f.do(t, raw{method: "GET", path: "/v1/sessions/s/top", trusted: true}).Body)
	want := `{"processes":[{"pid":1,"parent":2,"user":"u","cpu_time":"1s","elapsed":"1m","memory":3,"cmd":"c"}],` +
		`"host_pids":true}` + "\n"
	if err != nil || string(b) != want {
		t.Errorf("got %s, %v; want %s", b, err, want)
	}
}
