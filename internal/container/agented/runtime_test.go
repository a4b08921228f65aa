package agented

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/container"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestWhoGetsTheAgent checks what a container is made with.
func TestWhoGetsTheAgent(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts container.Options
		want bool
	}{
		{"no limits", container.Options{}, true},
		{"not wanted", container.Options{NoProgram: true}, false},
		{"enough memory", container.Options{Resources: container.Resources{Memory: 32 << 20}}, true},
		{"little memory", container.Options{Resources: container.Resources{Memory: 32<<20 - 1}}, false},
		{"enough processes", container.Options{Resources: container.Resources{PIDs: 32}}, true},
		{"few processes", container.Options{Resources: container.Resources{PIDs: 31}}, false},
		{"one of two limits too low", container.Options{Resources: container.Resources{Memory: 1 << 30, PIDs: 8}},
			false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			below := &maker{}
			rt := New(below, Config{})
			if _, err := rt.Create(t.Context(), "s", tt.opts); err != nil {
				t.Fatal(err)
			}
			if got := below.made.Program != nil; got != tt.want {
				t.Errorf("the container gets the agent: %t, want %t", got, tt.want)
			}
			if err := rt.(container.Closer).Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestUpdateLeavesRoom checks that a container with the agent keeps the room that this takes.
func TestUpdateLeavesRoom(t *testing.T) {
	for _, tt := range []struct {
		name   string
		agent  bool
		limits container.Resources
		want   error
	}{
		{"more", true, container.Resources{Memory: 64 << 20, PIDs: 100}, nil},
		{"little memory", true, container.Resources{Memory: 16 << 20}, container.ErrInvalidArgument},
		{"few processes", true, container.Resources{PIDs: 31}, container.ErrInvalidArgument},
		{"without the agent", false, container.Resources{Memory: 16 << 20}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			below := &maker{labels: map[string]string{}}
			if tt.agent {
				below.labels[container.LabelProgram] = "hash"
			}
			rt := New(below, Config{})
			err := rt.(container.Updater).Update(t.Context(), "s", tt.limits)
			if container.ClassOf(err) != tt.want || (below.updated == tt.limits) != (err == nil) {
				t.Errorf("%v, and what is below was asked for %+v", err, below.updated)
			}
			if err := rt.(container.Closer).Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// maker is an engine that remembers what it was asked to make.
type maker struct {
	container.Runtime
	made container.Options

	labels  map[string]string
	updated container.Resources
}

func (m *maker) Get(_ context.Context, id string) (*container.Container, error) {
	return &container.Container{SessionID: id, Labels: m.labels}, nil
}

func (m *maker) Update(_ context.Context, _ string, limits container.Resources) error {
	m.updated = limits
	return nil
}

func (m *maker) Create(_ context.Context, id string, opts container.Options) (*container.Container, error) {
	m.made = opts
	return &container.Container{SessionID: id, Status: container.StatusCreated}, nil
}

func (m *maker) Dial(context.Context, string, string, []string) (container.Conn, error) {
	return nil, container.ErrUnsupported
}

// TestDialRefused: where the engine refuses to start the agent, commands are the engine's; where it
// does not answer, nobody knows whether there is one.
func TestDialRefused(t *testing.T) {
	for class, byEngines := range map[error]bool{
		container.ErrRefused: true, container.ErrExecFailed: true, container.ErrUnavailable: false,
	} {
		below := &undialled{engine: &engine{}, class: class}
		r := New(below, Config{Logger: slog.New(slog.DiscardHandler)})
		result, err := r.Exec(t.Context(), "s", []string{"true"}, container.ExecOptions{})
		switch {
		case byEngines && (err != nil || result.ExitCode != byEngine):
			t.Errorf("%v: got %+v, %v; want it to be the engine's", class, result, err)
		case !byEngines && container.ClassOf(err) != class:
			t.Errorf("%v: got %+v, %v", class, result, err)
		}
		want := class
		if class == container.ErrExecFailed {
			want = container.ErrUnsupported
		}
		if _, err := r.(*Runtime).ListTerminals(t.Context(), "s"); container.ClassOf(err) != want {
			t.Errorf("%v: listing terminals: %v; want class %v", class, err, want)
		}
		if err := r.(container.Closer).Close(); err != nil {
			t.Error(err)
		}
	}
}

// undialled is an engine that starts no agent.
type undialled struct {
	*engine
	class error
}

func (u *undialled) Dial(context.Context, string, string, []string) (container.Conn, error) {
	return nil, container.Errorf("dial", "s", u.class, "no")
}

func TestConnectionInWords(t *testing.T) {
	for err, want := range map[error]string{
		io.EOF: "it has ended", fmt.Errorf("read: %w", io.ErrUnexpectedEOF): "it has ended",
		io.ErrClosedPipe: "it was closed",
		fmt.Errorf("hello: %w", os.ErrDeadlineExceeded): "nothing came in time",
		errors.New("not an agent\x1b"):                  `not an agent\x1b`,
	} {
		if got := inWords(err); got != want {
			t.Errorf("%v is told as %q, want %q", err, got, want)
		}
	}
}
