package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/httpapi"
	"github.com/octobot-run/octobot/internal/session"
)

// pulling is a service whose creations pull an image first.
type pulling struct {
	httpapi.Service
	pull func(ctx context.Context, progress func(container.PullProgress)) error
}

func (p pulling) Create(ctx context.Context, who session.Principal, req session.CreateRequest) (session.View, error) {
	if err := p.pull(ctx, req.Progress); err != nil {
		return session.View{}, err
	}
	return p.Service.Create(ctx, who, req)
}

func TestProgressIsToldWhilePulling(t *testing.T) {
	seen := make(chan struct{})
	missing := &session.Error{Code: session.CodeImageNotFound, Op: "create", Detail: "no such image"}
	var fail error
	f := newFixtureOver(t, settings{}, func(s *session.ContainerService) httpapi.Service {
		return pulling{s, func(_ context.Context, progress func(container.PullProgress)) error {
			progress(container.PullProgress{Image: "debian:12", Layer: "abc", Status: "Downloading", Current: 1,
				Total: 2})
			<-seen // so the step has left before the creation goes on
			progress(container.PullProgress{Image: "debian:12", Status: "Pull complete"})
			return fail
		}}
	})
	var steps []v1.Progress
	progress := func(p v1.Progress) {
		if len(steps) == 0 {
			seen <- struct{}{}
		}
		steps = append(steps, p)
	}
	s, err := f.admin.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "s"}, progress)
	want := []v1.Progress{
		{Image: "debian:12", Layer: "abc", Status: "Downloading", Current: 1, Total: 2},
		{Image: "debian:12", Status: "Pull complete"},
	}
	if err != nil || s.Status != v1.StatusRunning || !slices.Equal(steps, want) {
		t.Errorf("created %+v, %v after %+v", s, err, steps)
	}
	steps, fail = nil, missing
	_, err = f.admin.CreateSession(t.Context(), v1.CreateSessionRequest{}, progress)
	wantCode(t, err, v1.CodeImageNotFound)
	if !slices.Equal(steps, want) {
		t.Errorf("steps %+v", steps)
	}
}

// A client that goes away, or the end of the server, undoes a creation.
func TestCreationEndsWithItsClient(t *testing.T) {
	for _, progress := range []func(v1.Progress){nil, func(v1.Progress) {}} {
		t.Run(fmt.Sprint(progress != nil), func(t *testing.T) {
			begun, ended := make(chan struct{}), make(chan error, 1)
			f := newFixtureOver(t, settings{}, func(s *session.ContainerService) httpapi.Service {
				return pulling{s, func(ctx context.Context, _ func(container.PullProgress)) error {
					close(begun)
					<-ctx.Done()
					ended <- ctx.Err()
					return &session.Error{Code: session.CodeCancelled, Op: "create", Detail: "it was cancelled"}
				}}
			})
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-begun; cancel() }()
			if _, err := f.admin.CreateSession(ctx, v1.CreateSessionRequest{},
				progress); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			<-ended
		})
	}
}

// lagging is a service whose subscribers have missed events before they begin.
type lagging struct {
	httpapi.Service
	session *session.ContainerService
}

func (l lagging) Subscribe(who session.Principal, sel session.EventSelection) (*session.Subscription, error) {
	s, err := l.session.Subscribe(who, sel)
	if err != nil {
		return nil, err
	}
	for i := 0; !s.Overflowed(); i++ {
		id := fmt.Sprint("s", i)
		if _, err := l.session.Create(context.Background(), who, session.CreateRequest{ID: id}); err != nil {
			panic(err)
		}
		if err := l.session.Delete(context.Background(), who, id); err != nil {
			panic(err)
		}
	}
	return s, nil
}

func TestOverflowEndsEvents(t *testing.T) {
	f := newFixtureOver(t, settings{}, func(s *session.ContainerService) httpapi.Service { return lagging{s, s} })
	events := 0
	var last error
	for event, err := range f.admin.Events(t.Context(), "") {
		if last = err; err == nil {
			events++
			if event.SessionID == "" {
				t.Fatalf("event %+v", event)
			}
		}
	}
	if !errors.Is(last, client.ErrOverflow) || events == 0 {
		t.Errorf("%d events, then %v", events, last)
	}
}

// A quiet stream shows signs of life.
func TestKeepalive(t *testing.T) {
	f := newFixture(t, settings{}, func(a *httpapi.API) { a.SetTiming(time.Millisecond, 0) })
	resp := f.do(t, raw{method: "GET", path: "/v1/events", trusted: true})
	b := make([]byte, 3*len(": alive\n\n"))
	if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != strings.Repeat(": alive\n\n", 3) {
		t.Errorf("stream %q, %v", b, err)
	}
}

// Spans are named by route, and tracing gets in the way of neither streams nor WebSockets.
func TestTraces(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	f := newFixture(t, settings{front: front.Config{Tracer: provider}})
	f.running(t, "s", "")
	terminal, err := f.admin.Attach(t.Context(), "s", client.AttachOptions{Cmd: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = terminal.Close() }()
	if _, err := io.Copy(io.Discard, terminal); err != nil {
		t.Error(err)
	}
	if err := f.admin.Logs(t.Context(), "s", client.LogOptions{}, nil, nil); err != nil {
		t.Error(err)
	}
	ended := func(name string) bool {
		return slices.ContainsFunc(recorder.Ended(), func(s sdktrace.ReadOnlySpan) bool { return s.Name() == name })
	}
	for _, name := range []string{"POST /v1/sessions", "GET /v1/sessions/{id}/attach", "GET /v1/sessions/{id}/logs"} {
		for !ended(name) {
			if t.Context().Err() != nil {
				t.Fatalf("no span %q", name)
			}
			time.Sleep(time.Millisecond) // a span ends a little after its answer was read
		}
	}
}

// Events of a command and of a log wait for a client that reads late, however impatient the
// API is otherwise.
func TestOutputWaitsForSlowReader(t *testing.T) {
	const size = 8 << 20
	f := newFixture(t, settings{front: front.Config{WriteTimeout: 300 * time.Millisecond}})
	f.running(t, "s", "")
	f.engine.Handle("much", func(_ context.Context, p *mock.Process) int {
		if n, err := io.Copy(p.Stdout, randomBytes(size)); n != size || err != nil {
			return 1
		}
		return 0
	})
	resp := f.do(t, raw{method: "POST", path: "/v1/sessions/s/exec", trusted: true,
		header: map[string]string{"Accept": "text/event-stream"},
		body:   strings.NewReader(`{"cmd":["much"]}`)})
	time.Sleep(600 * time.Millisecond) // the connection is full, and longer than that
	b, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasSuffix(string(b), "event: exit\ndata: {\"code\":0}\n\n") {
		t.Errorf("%d bytes, which end in %.100q, %v", len(b), b[max(0, len(b)-100):], err)
	}
}

// A mistake of ours breaks one request, and shows no more than any internal error.
func TestPanicIsContained(t *testing.T) {
	f := newFixtureOver(t, settings{}, func(s *session.ContainerService) httpapi.Service {
		return pulling{s, func(context.Context, func(container.PullProgress)) error { panic("the secret inside") }}
	})
	_, err := f.admin.CreateSession(t.Context(), v1.CreateSessionRequest{}, nil)
	if e := wantCode(t, err, v1.CodeInternal); strings.Contains(e.Error(), "secret") || e.Instance == "" {
		t.Errorf("error %+v", e)
	}
	if err := f.admin.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// What goes on by a token's right ends with it, and says so; what others do goes on.
func TestStreamsEndWithTheirToken(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, f *fixture){
		"deleted": func(t *testing.T, f *fixture) {
			if err := f.admin.DeleteToken(t.Context(), "t"); err != nil {
				t.Fatal(err)
			}
		},
		"expired": func(*testing.T, *fixture) {},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, settings{})
			f.running(t, "s", "p")
			listen(t, f, "s")
			request := v1.CreateTokenRequest{Name: "t", Project: "p"}
			if name == "expired" {
				request.TTL = v1.Duration(2 * time.Second)
			}
			token, err := f.admin.CreateToken(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			_, other := f.token(t, "other", "p")
			forever := v1.ExecRequest{Cmd: []string{"sleep", "1000"}}
			streams := map[string]func(ctx context.Context, c *client.Client) error{
				"attach": func(ctx context.Context, c *client.Client) error {
					terminal, err := c.Attach(ctx, "s", client.AttachOptions{Cmd: []string{"sh"}})
					if err == nil {
						defer context.AfterFunc(ctx, func() { _ = terminal.Close() })()
						_, err = io.Copy(io.Discard, terminal)
					}
					return err
				},
				"exec": func(ctx context.Context, c *client.Client) error {
					_, err := c.Exec(ctx, "s", forever)
					return err
				},
				"exec stream": func(ctx context.Context, c *client.Client) error {
					_, err := c.ExecStream(ctx, "s", forever, client.Streams{})
					return err
				},
				"logs": func(ctx context.Context, c *client.Client) error {
					return c.Logs(ctx, "s", client.LogOptions{Follow: true}, nil, nil)
				},
				"port": func(ctx context.Context, c *client.Client) error {
					conn, err := c.DialPort(ctx, "s", 3000)
					if err == nil {
						defer context.AfterFunc(ctx, conn.Reset)()
						_, err = io.Copy(io.Discard, conn)
					}
					return err
				},
				"events": func(ctx context.Context, c *client.Client) error {
					var last error
					for _, err := range c.Events(ctx, "") {
						last = err
					}
					return last
				},
			}
			ends := make(chan error, len(streams))
			stay, leave := context.WithCancel(t.Context())
			var others sync.WaitGroup
			c := f.client(t, client.Options{URL: f.url, Token: token.Secret})
			for name, stream := range streams {
				go func() {
					if err := stream(t.Context(), c); client.CodeOf(err) != v1.CodeUnauthenticated {
						ends <- fmt.Errorf("%s ended with %w", name, err)
						return
					}
					ends <- nil
				}()
				others.Go(func() {
					if err := stream(stay, other); stay.Err() == nil {
						t.Errorf("another token's %s ended with %v", name, err)
					}
				})
			}
			for f.front.Streams().Count() != 2*len(streams) {
				time.Sleep(time.Millisecond)
			}
			end(t, f)
			for range streams {
				if err := <-ends; err != nil {
					t.Error(err)
				}
			}
			for f.front.Streams().Count() != len(streams) {
				time.Sleep(time.Millisecond)
			}
			leave()
			others.Wait()
		})
	}
}
