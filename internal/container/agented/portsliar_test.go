package agented

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

// TestLiarsAboutPorts has agents that lie about connections. Callers hear of it, in bounded time.
func TestLiarsAboutPorts(t *testing.T) {
	say := func(m agentproto.Message) func(*agentproto.Stream) {
		return func(s *agentproto.Stream) { _ = s.Send(m) }
	}
	var cases sync.WaitGroup
	defer cases.Wait()
	for name, tt := range map[string]struct {
		answer             func(*agentproto.Stream)
		dial, listen, list error
	}{
		"another answer": {say(&agentproto.Done{}), container.ErrUnavailable, container.ErrUnavailable,
			container.ErrUnavailable},
		"no word": {func(*agentproto.Stream) {}, container.ErrUnavailable, container.ErrUnavailable,
			container.ErrUnavailable},
		"an unknown class": {say(&agentproto.Error{Class: 200, Detail: "\x1b[2J"}), container.ErrUnavailable,
			container.ErrUnavailable, container.ErrUnavailable},
		"refused": {say(&agentproto.Error{Class: agentproto.Refused, Detail: "\x1b[2J"}), container.ErrPortClosed,
			container.ErrPortClosed, container.ErrPortClosed},
		"no such request": {say(&agentproto.Error{Class: agentproto.Unsupported}), container.ErrUnsupported,
			container.ErrUnsupported, container.ErrUnsupported},
		"no port": {say(&agentproto.Listening{ID: "a"}), container.ErrUnavailable, container.ErrUnavailable,
			container.ErrUnavailable},
		"another port": {say(&agentproto.Listening{ID: "a", Port: 4001}), container.ErrUnavailable,
			container.ErrUnavailable, container.ErrUnavailable},
		"never answers": {func(s *agentproto.Stream) { _, _ = s.Next() }, context.DeadlineExceeded,
			context.DeadlineExceeded, context.DeadlineExceeded},
	} {
		r := withLiar(t, operations(tt.answer))
		cases.Go(func() {
			for _, c := range []struct {
				call func(context.Context) error
				want error
			}{
				{func(ctx context.Context) error { _, err := r.DialPort(ctx, "s", 3000); return err }, tt.dial},
				{func(ctx context.Context) error { _, err := r.ListenPort(ctx, "s", "", 4000); return err }, tt.listen},
				{func(ctx context.Context) error { _, err := r.ListeningPorts(ctx, "s"); return err }, tt.list},
			} {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				err := c.call(ctx)
				cancel()
				if !errors.Is(err, c.want) || strings.ContainsAny(err.Error(), "\x1b\a") {
					t.Errorf("%s: %v; want %v", name, err, c.want)
				}
			}
		})
	}
}

// TestLiarsConnection: what an agent says of a connection is not believed, and its end is what the
// stream's is.
func TestLiarsConnection(t *testing.T) {
	r := withLiar(t, operations(func(s *agentproto.Stream) {
		_ = s.Send(&agentproto.Connected{Address: "\x1b[2J"})
		raw := s.Raw()
		_, _ = raw.Write([]byte("x"))
		raw.Reset()
	}))
	conn, err := r.DialPort(t.Context(), "s", 3000)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.RemoteAddr().String(); got != ":3000" {
		t.Errorf("it leads to %q", got)
	}
	if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("it ends with %v", err)
	}

	r = withLiar(t, operations(func(s *agentproto.Stream) {
		_ = s.Send(&agentproto.Ports{List: []agentproto.Port{
			{Address: "\x1b", Port: 1}, {Address: "127.0.0.1"}, {Address: "127.0.0.1", Port: 1 << 20},
			{Address: "fe80::1%\x1b", Port: 3, PID: -1, Args: []string{"\x1b]0;x\a"}},
		}})
	}))
	list, err := r.ListeningPorts(t.Context(), "s")
	if err != nil || len(list) != 1 || list[0].Address != "fe80::1" || list[0].PID != 0 ||
		list[0].Cmd[0] != `\x1b]0;x\a` {
		t.Errorf("listed %+v, %v", list, err)
	}
	var many agentproto.Ports
	for range 2 * agentproto.MaxPorts {
		many.List = append(many.List, agentproto.Port{Address: "::1", Port: 1})
	}
	r = withLiar(t, operations(func(s *agentproto.Stream) { _ = s.Send(&many) }))
	if list, err := r.ListeningPorts(t.Context(), "s"); err != nil || len(list) != agentproto.MaxPorts {
		t.Errorf("%d listed, %v", len(list), err)
	}
}
