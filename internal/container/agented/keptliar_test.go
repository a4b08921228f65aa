package agented

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

// attached is what an honest agent says first of a terminal.
func attached() *agentproto.Attached {
	return &agentproto.Attached{Terminal: agentproto.TerminalInfo{Name: "main", ID: "a1", Running: true}}
}

// TestLiarsAboutTerminals has agents that lie about what they keep. Viewers hear of it, in bounded
// time.
func TestLiarsAboutTerminals(t *testing.T) {
	first := func(change func(a *agentproto.Attached)) func(*agentproto.Stream) {
		return func(s *agentproto.Stream) {
			a := attached()
			change(a)
			_ = s.Send(a)
		}
	}
	then := func(m agentproto.Message) func(*agentproto.Stream) {
		return func(s *agentproto.Stream) {
			_ = s.Send(attached())
			_ = s.Send(m)
		}
	}
	var cases sync.WaitGroup
	defer cases.Wait()
	for name, tt := range map[string]struct {
		answer func(*agentproto.Stream)
		opened bool
		want   error
	}{
		"no ID": {first(func(a *agentproto.Attached) { a.Terminal.ID = "" }), false,
			container.ErrUnavailable},
		"a strange ID": {first(func(a *agentproto.Attached) { a.Terminal.ID = "../x" }), false,
			container.ErrUnavailable},
		"a strange name": {first(func(a *agentproto.Attached) { a.Terminal.Name = "\x1b" }), false,
			container.ErrUnavailable},
		"before the start": {first(func(a *agentproto.Attached) { a.Position = -1 }), false, container.ErrUnavailable},
		"less than none":   {first(func(a *agentproto.Attached) { a.Missed = -1 }), false, container.ErrUnavailable},
		"another answer": {func(s *agentproto.Stream) { _ = s.Send(&agentproto.Done{}) }, false,
			container.ErrUnavailable},
		"an unknown kind": {func(s *agentproto.Stream) { _ = s.SendData(200, nil) }, false, container.ErrUnavailable},
		"exists": {func(s *agentproto.Stream) {
			_ = s.Send(agentproto.Errorf(agentproto.Exists,
				"\x1b[2J"))
		}, false, container.ErrTerminalExists},
		"never answers":     {func(s *agentproto.Stream) { _, _ = s.Next() }, false, context.DeadlineExceeded},
		"missed backwards":  {then(&agentproto.Missed{Bytes: -5}), true, container.ErrUnavailable},
		"a strange code":    {then(&agentproto.Exit{Code: 4096}), true, container.ErrUnavailable},
		"ends without word": {func(s *agentproto.Stream) { _ = s.Send(attached()) }, true, container.ErrUnavailable},
		"beyond the end": {func(s *agentproto.Stream) {
			_ = s.Send(attached())
			for range 3 {
				_ = s.Send(&agentproto.Missed{Bytes: math.MaxInt64 - 1})
			}
		}, true, container.ErrUnavailable},
	} {
		r := withLiar(t, operations(tt.answer))
		cases.Go(func() { // each waits for a while
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			terminal, err := r.OpenTerminal(ctx, "s", container.TerminalOptions{Name: "main"})
			if err == nil {
				defer terminal.Close()
				for err == nil {
					_, err = terminal.Next()
				}
			}
			if (terminal != nil) != tt.opened || !errors.Is(err, tt.want) || errors.Is(err, io.EOF) {
				t.Errorf("%s: opened: %t, error %v; want %t, %v", name, terminal != nil, err, tt.opened, tt.want)
			}
			if strings.ContainsAny(err.Error(), "\x1b\a") {
				t.Errorf("%s: its words are passed on: %q", name, err)
			}
		})
	}
}

// TestLiarsAboutProcesses has them lie about processes.
func TestLiarsAboutProcesses(t *testing.T) {
	say := func(p agentproto.ProcessInfo) func(*agentproto.Stream) {
		return func(s *agentproto.Stream) { _ = s.Send(&p) }
	}
	var cases sync.WaitGroup
	defer cases.Wait()
	for name, answer := range map[string]func(*agentproto.Stream){
		"another":          say(agentproto.ProcessInfo{ID: "b2", Ended: 1}),
		"no ID":            say(agentproto.ProcessInfo{Ended: 1}),
		"a strange code":   say(agentproto.ProcessInfo{ID: "a1", Ended: 1, ExitCode: -1}),
		"before the start": say(agentproto.ProcessInfo{ID: "a1", Ended: 1, Position: -1}),
		"missed backwards": func(s *agentproto.Stream) { _ = s.Send(&agentproto.Missed{Bytes: -1}) },
		"no word":          func(*agentproto.Stream) {},
	} {
		r := withLiar(t, operations(answer))
		cases.Go(func() {
			if _, err := r.WaitProcess(t.Context(), "s", "a1"); !errors.Is(err, container.ErrUnavailable) {
				t.Errorf("%s: wait: %v", name, err)
			}
			_, _, err := r.ReadProcess(t.Context(), "s", "a1", container.OutputOptions{}, nil, nil)
			if !errors.Is(err, container.ErrUnavailable) {
				t.Errorf("%s: read: %v", name, err)
			}
		})
	}
	r := withLiar(t, operations(func(s *agentproto.Stream) {
		_ = s.Send(&agentproto.Processes{List: []agentproto.ProcessInfo{{ID: "\x1b"}, {ID: "a1",
			Args: []string{"\x1b]0;x\a"}, Kept: -1}}})
	}))
	list, err := r.ListProcesses(t.Context(), "s")
	if err != nil || len(list) != 1 || list[0].Cmd[0] != `\x1b]0;x\a` || list[0].Kept != 0 {
		t.Errorf("listed %+v, %v", list, err)
	}
}
