package agented

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

// TestLiarsAboutProcessesThatRun has agents that lie about what runs.
func TestLiarsAboutProcessesThatRun(t *testing.T) {
	running := func(list ...agentproto.RunningProcess) agentproto.Message { return &agentproto.Running{List: list} }
	many := make([]agentproto.RunningProcess, agentproto.MaxRunning+1)
	for i := range many {
		many[i].PID = i + 1
	}
	var cases sync.WaitGroup
	defer cases.Wait()
	for name, tt := range map[string]struct {
		answer agentproto.Message
		want   error // nil: none
	}{
		"another answer": {&agentproto.Done{}, container.ErrUnavailable},
		"twice": {running(agentproto.RunningProcess{PID: 1}, agentproto.RunningProcess{PID: 1}),
			container.ErrUnavailable},
		"no PID":   {running(agentproto.RunningProcess{}), container.ErrUnavailable},
		"too many": {running(many...), container.ErrUnavailable},
		"nothing of it": {running(agentproto.RunningProcess{PID: 1, Parent: -1, CPUTime: -1, Elapsed: -1, Memory: -1,
			User: "\x1b[2J", Cmd: "\x1b\a"}), nil},
		// What is below has no other way to tell.
		"an older one": {&agentproto.Error{Class: agentproto.Unsupported}, container.ErrUnsupported},
	} {
		r := withLiar(t, operations(func(s *agentproto.Stream) { _ = s.Send(tt.answer) }))
		cases.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			top, err := r.Top(ctx, "s")
			if !errors.Is(err, tt.want) {
				t.Errorf("%s: %v; want %v", name, err, tt.want)
			}
			if tt.want != nil {
				return
			}
			p := top.Processes[0]
			if p.Parent != 0 || p.CPUTime != 0 || p.Elapsed != 0 || p.Memory != 0 ||
				strings.ContainsAny(p.User+p.Cmd, "\x1b\a") {
				t.Errorf("%s is believed: %+v", name, p)
			}
		})
	}
}

// TestTopOfPaused: what runs in a paused container, whose agent is frozen, the engine tells.
func TestTopOfPaused(t *testing.T) {
	r := New(&pausedEngine{}, Config{Logger: slog.New(slog.DiscardHandler)}).(*Runtime)
	defer r.Close()
	if top, err := r.Top(t.Context(), "s"); err != nil || !top.HostPIDs {
		t.Errorf("got %+v, %v; want the engine's", top, err)
	}
}

// pausedEngine is one whose containers are paused.
type pausedEngine struct{ engine }

func (*pausedEngine) Get(_ context.Context, id string) (*container.Container, error) {
	return &container.Container{SessionID: id, Status: container.StatusRunning, Paused: true, Detailed: true,
		Labels: map[string]string{container.LabelProgram: "0123"}}, nil
}

func (*pausedEngine) Top(context.Context, string) (*container.Top, error) {
	return &container.Top{HostPIDs: true}, nil
}
