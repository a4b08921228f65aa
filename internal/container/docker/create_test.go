package docker_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

const (
	missing  = "missing:latest"
	pulling  = "POST /images/create"
	creating = "POST /containers/create"
)

func TestBadInputAsksNothing(t *testing.T) {
	engine := newFakeEngine(t, nil)
	p := engine.open(t)
	ctx := t.Context()
	fine := container.Options{Image: "here"}
	calls := map[string]func(id string) error{
		"create": func(id string) error { _, err := p.Create(ctx, id, fine); return err },
		"start":  func(id string) error { return p.Start(ctx, id) },
		"stop":   func(id string) error { return p.Stop(ctx, id, 0) },
		"remove": func(id string) error { return p.Remove(ctx, id) },
		"get":    func(id string) error { _, err := p.Get(ctx, id); return err },
		"exec": func(id string) error {
			_, err := p.Exec(ctx, id, []string{"true"}, container.ExecOptions{})
			return err
		},
		"attach":    func(id string) error { _, err := p.Attach(ctx, id, container.AttachOptions{}); return err },
		"logs":      func(id string) error { return p.Logs(ctx, id, container.LogOptions{}, nil, nil) },
		"copy to":   func(id string) error { return p.CopyTo(ctx, id, "/", strings.NewReader("")) },
		"copy from": func(id string) error { _, err := p.CopyFrom(ctx, id, "/etc"); return err },
		"stats":     func(id string) error { _, err := p.Stats(ctx, id); return err },
		"pause":     func(id string) error { return p.Pause(ctx, id) },
		"unpause":   func(id string) error { return p.Unpause(ctx, id) },
	}
	for name, call := range calls {
		for _, id := range []string{"", ".", "..", "../x", "a/b", "a%2eb", "a b", "a\x00b", "é",
			strings.Repeat("a", 4096)} {
			if err := call(id); !errors.Is(err, container.ErrInvalidArgument) {
				t.Errorf("%s of session %.20q: %v; want invalid argument", name, id, err)
			}
		}
	}
	for name, opts := range map[string]container.Options{
		"no image":    {},
		"root bind":   {Image: "here", Binds: []string{"/:/host"}},
		"host net":    {Image: "here", NetworkMode: "host"},
		"labels":      {Image: "here", Labels: map[string]string{"octobot.session": "x"}},
		"port":        {Image: "here", PortBindings: map[string]string{"80": "99999"}},
		"low memory":  {Image: "here", Resources: container.Resources{Memory: 1}},
		"bad tmpfs":   {Image: "here", Tmpfs: map[string]string{"x": ""}},
		"bad runtime": {Image: "here", Runtime: "../x"},
	} {
		if _, err := p.Create(ctx, "a", opts); !errors.Is(err, container.ErrInvalidArgument) {
			t.Errorf("create with %s: %v; want invalid argument", name, err)
		}
	}
	if asked := engine.requests(); len(asked) != 0 {
		t.Errorf("the engine was asked: %q", asked)
	}
}

func TestCreateIsOneCall(t *testing.T) {
	engine := newFakeEngine(t, nil)
	p := engine.open(t)
	for _, id := range []string{"a", "b"} {
		if _, err := p.Create(t.Context(), id, container.Options{Image: "here:latest"}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"GET /_ping", "HEAD /_ping", creating, creating}
	if asked := engine.requests(); !slices.Equal(asked, want) {
		t.Errorf("the engine was asked %q; want %q", asked, want)
	}
}

// pullGate is an engine whose pulls report a step again and again until they are released.
type pullGate struct {
	*fakeEngine
	release chan struct{}
	gone    chan struct{} // a pull's connection was closed
}

func newPullGate(t *testing.T) *pullGate {
	g := &pullGate{release: make(chan struct{}), gone: make(chan struct{}, 16)}
	g.fakeEngine = newFakeEngine(t, map[string]http.HandlerFunc{
		pulling: func(w http.ResponseWriter, r *http.Request) {
			for {
				say(w, `{"status":"Downloading","id":"layer","progressDetail":{"current":1,"total":2}}`)
				select {
				case <-g.release:
					g.addImage(missing)
					say(w, `{"status":"Pull complete","id":"layer"}`)
					return
				case <-r.Context().Done():
					g.gone <- struct{}{}
					return
				case <-time.After(time.Millisecond):
				}
			}
		},
	})
	return g
}

func TestPullIsShared(t *testing.T) {
	engine := newPullGate(t)
	p := engine.open(t)
	var waits sync.WaitGroup // for everybody to be told of the pull
	options := func() container.Options {
		waits.Add(1)
		told := sync.OnceFunc(waits.Done)
		return container.Options{Image: missing, Progress: func(container.PullProgress) { told() }}
	}

	impatient, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	opts := options()
	go func() { _, err := p.Create(impatient, "impatient", opts); left <- err }()
	var waiting sync.WaitGroup
	for _, id := range []string{"a", "b", "c"} {
		opts := options()
		waiting.Go(func() {
			if _, err := p.Create(t.Context(), id, opts); err != nil {
				t.Errorf("create %s: %v", id, err)
			}
		})
	}
	waits.Wait()
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("impatient caller: %v; want canceled", err)
	}
	close(engine.release)
	waiting.Wait()
	if n := engine.count(pulling); n != 1 {
		t.Errorf("%d pulls; want 1", n)
	}
	if got := engine.containers(); len(got) != 3 {
		t.Errorf("containers %q; want a, b and c", got)
	}
}

// Who counts pulls is asked before one begins, told when it has ended, and can refuse it.
func TestPullAsksFirst(t *testing.T) {
	engine := newPullGate(t)
	p := engine.open(t)
	refused := errors.New("not now")
	_, err := p.Create(t.Context(), "a", container.Options{Image: missing,
		Pulling: func(context.Context) (func() error, error) { return nil, refused }})
	if !errors.Is(err, refused) || engine.count(pulling) != 0 {
		t.Errorf("create: %v after %d pulls; want %v before any", err, engine.count(pulling), refused)
	}
	close(engine.release)
	asked, ended := 0, 0
	opts := container.Options{Image: missing, Pulling: func(context.Context) (func() error, error) {
		asked++
		return func() error { ended++; return nil }, nil
	}}
	for _, id := range []string{"a", "b"} { // the second needs none
		if _, err := p.Create(t.Context(), id, opts); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 1 || ended != 1 {
		t.Errorf("asked %d times, told %d times", asked, ended)
	}
}

func TestPullEndsWithLastWaiter(t *testing.T) {
	engine := newPullGate(t)
	p := engine.open(t)
	steps := make(chan container.PullProgress, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := p.Create(ctx, "a", container.Options{Image: missing, Progress: func(s container.PullProgress) {
			select {
			case steps <- s:
			default:
			}
		}})
		done <- err
	}()
	if step := <-steps; step.Layer != "layer" || step.Current != 1 || step.Total != 2 || step.Image != missing {
		t.Errorf("progress %+v", step)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("create: %v; want canceled", err)
	}
	<-engine.gone
}

func TestPullKeepsCredentialsApart(t *testing.T) {
	engine := newPullGate(t)
	p := engine.open(t)
	var waiting sync.WaitGroup
	for id, creds := range map[string]*container.Credentials{"a": nil, "b": {Username: "u", Password: "1"},
		"c": {Username: "u", Password: "2"}} {
		waiting.Go(func() {
			if _, err := p.Create(t.Context(), id, container.Options{Image: missing, Credentials: creds}); err != nil {
				t.Errorf("create %s: %v", id, err)
			}
		})
	}
	for engine.count(pulling) < 3 {
		time.Sleep(time.Millisecond)
	}
	close(engine.release)
	waiting.Wait()
}

func TestPullFails(t *testing.T) {
	for name, c := range map[string]struct {
		pull http.HandlerFunc
		want error
	}{
		"refused at once": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusNotFound, map[string]string{"message": "pull access denied"})
		}, container.ErrImageNotFound},
		"registry down": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusInternalServerError, map[string]string{"message": "dial tcp: connection refused"})
		}, container.ErrImageNotFound},
		"refused midway": {func(w http.ResponseWriter, _ *http.Request) {
			say(w, `{"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"}`)
		}, container.ErrImageNotFound},
		"pulled and still missing": {func(w http.ResponseWriter, _ *http.Request) { say(w, `{"status":"done"}`) },
			container.ErrImageNotFound},
		"engine goes away": {func(w http.ResponseWriter, _ *http.Request) {
			say(w, `{"status":"Downloading"}`)
			panic(http.ErrAbortHandler)
		}, container.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			engine := newFakeEngine(t, map[string]http.HandlerFunc{pulling: c.pull})
			_, err := engine.open(t).Create(t.Context(), "a", container.Options{Image: missing})
			if container.ClassOf(err) != c.want {
				t.Errorf("create: %v; want class %v", err, c.want)
			}
		})
	}
}

func TestCancelledCreateIsUndone(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	var engine *fakeEngine
	engine = newFakeEngine(t, map[string]http.HandlerFunc{creating: func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-release
		engine.create(w, r)
	}})
	p := engine.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := p.Create(ctx, "a", container.Options{Image: "here:latest"}); done <- err }()
	<-asked
	cancel()
	close(release)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("create: %v; want canceled", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if left := engine.containers(); len(left) != 0 || len(engine.removed) != 1 {
		t.Errorf("left %q, removed %q", left, engine.removed)
	}
}

// An engine may create and not get round to saying so.
func TestLostAnswerIsUndone(t *testing.T) {
	for name, theirs := range map[string]bool{"own container": false, "another's": true} {
		t.Run(name, func(t *testing.T) { testUndone(t, theirs, container.ErrUnavailable, nil) })
	}
}

// A fault of the engine's may come when the container is there already.
func TestFaultIsUndone(t *testing.T) {
	testUndone(t, false, container.ErrRefused, map[string]string{"message": "no space left on device"})
}

// testUndone lets a create make a container of ours, or find another's, and then say what; nil:
// nothing.
func testUndone(t *testing.T, theirs bool, class error, what any) {
	var engine *fakeEngine
	full := container.Name("a")
	engine = newFakeEngine(t, map[string]http.HandlerFunc{
		creating: func(w http.ResponseWriter, r *http.Request) {
			if theirs {
				engine.mu.Lock()
				engine.made[full] = container.Labels("fake", "a", container.Options{})
				engine.mu.Unlock()
			} else {
				engine.create(discardAnswer{http.Header{}}, r)
			}
			if what != nil {
				answer(w, http.StatusInternalServerError, what)
				return
			}
			panic(http.ErrAbortHandler)
		},
		"GET /containers/" + full + "/json": func(w http.ResponseWriter, r *http.Request) {
			engine.inspect(full)(w,
				r)
		},
	})
	p := engine.open(t)
	if _, err := p.Create(t.Context(), "a",
		container.Options{Image: "here:latest"}); !errors.Is(err, class) {
		t.Errorf("create: %v; want class %v", err, class)
	}
	want := 0
	if theirs {
		want = 1
	}
	for deadline := time.Now().Add(10 * time.Second); engine.count("GET /containers/"+full+"/json") == 0 ||
		len(engine.containers()) != want; {
		if time.Now().After(deadline) {
			t.Fatalf("containers %q; want %d", engine.containers(), want)
		}
		time.Sleep(time.Millisecond)
	}
}

type discardAnswer struct{ header http.Header }

func (d discardAnswer) Header() http.Header         { return d.header }
func (d discardAnswer) Write(b []byte) (int, error) { return len(b), nil }
func (d discardAnswer) WriteHeader(int)             {}
