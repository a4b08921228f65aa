package mock_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
)

// start makes a provider with a running container of session "s".
func start(t testing.TB, opts container.Options) *mock.MockProvider {
	t.Helper()
	m := mock.NewMockProvider()
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		m.Engine().Close()
	})
	if opts.Image == "" {
		opts.Image = "debian:12"
	}
	if _, err := m.Create(t.Context(), "s", opts); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	return m
}

func sh(t testing.TB, m *mock.MockProvider, script string) *container.ExecResult {
	t.Helper()
	res, err := m.Exec(t.Context(), "s", []string{"sh", "-c", script}, container.ExecOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func wantClass(t *testing.T, err, want error) {
	t.Helper()
	if got := container.ClassOf(err); err == nil || got != want {
		t.Fatalf("error is %v, of class %v; want class %v", err, got, want)
	}
}

func TestFaults(t *testing.T) {
	m := mock.NewMockProvider()
	defer m.Close()
	e, ctx := m.Engine(), t.Context()
	create := func(id string) error {
		_, err := m.Create(ctx, id, container.Options{Image: "a"})
		return err
	}

	remove := e.Inject(mock.Fault{Op: "create", Nth: 2, Err: container.ErrUnavailable})
	if err := create("a"); err != nil {
		t.Fatal(err)
	}
	wantClass(t, create("b"), container.ErrUnavailable)
	if err := create("b"); err != nil {
		t.Fatal(err)
	}
	remove()

	remove = e.Inject(mock.Fault{SessionID: "a", Err: container.ErrUnavailable})
	for range 2 {
		wantClass(t, m.Start(ctx, "a"), container.ErrUnavailable)
	}
	if _, err := m.Get(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	remove()
	if err := m.Start(ctx, "a"); err != nil {
		t.Fatal(err)
	}

	// The answer is lost, the work is done.
	remove = e.Inject(mock.Fault{Op: "create", Err: container.ErrUnavailable, Done: true})
	wantClass(t, create("c"), container.ErrUnavailable)
	remove()
	if _, err := m.Get(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	if n := e.Calls("create"); n != 4 {
		t.Errorf("%d creates were counted", n)
	}
	before := e.Calls("")
	wantClass(t, m.Start(ctx, "../x"), container.ErrInvalidArgument)
	if e.Calls("") != before {
		t.Error("a call that was refused beforehand reached the engine")
	}
}

func TestFaultWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mock.NewMockProvider()
		gate := make(chan struct{})
		m.Engine().Inject(mock.Fault{Op: "list", Wait: gate})
		list := func(ctx context.Context) chan error {
			ended := make(chan error, 1)
			go func() {
				_, err := m.List(ctx)
				ended <- err
			}()
			synctest.Wait()
			if len(ended) > 0 {
				t.Fatal("the call was not held up")
			}
			return ended
		}

		ctx, cancel := context.WithCancel(t.Context())
		impatient, patient := list(ctx), list(t.Context())
		cancel()
		wantClass(t, <-impatient, context.Canceled)
		close(gate)
		if err := <-patient; err != nil {
			t.Fatal(err)
		}

		m.Engine().Inject(mock.Fault{Op: "get", Wait: make(chan struct{})})
		ended := make(chan error, 1)
		go func() {
			_, err := m.Get(t.Context(), "s")
			ended <- err
		}()
		synctest.Wait()
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		wantClass(t, <-ended, container.ErrClosed)
	})
}

func TestDown(t *testing.T) {
	m := start(t, container.Options{})
	events, err := m.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.Engine().SetDown(true)
	for range events { // ends because the stream broke
	}
	_, err = m.Get(t.Context(), "s")
	wantClass(t, err, container.ErrUnavailable)
	m.Engine().SetDown(false)
	if c, err := m.Get(t.Context(), "s"); err != nil || c.Status != container.StatusRunning {
		t.Fatalf("container is %+v, %v", c, err)
	}
}

func TestLose(t *testing.T) {
	m := start(t, container.Options{})
	if !m.Engine().Lose("s") || m.Engine().Lose("s") {
		t.Fatal("there was one container")
	}
	_, err := m.Get(t.Context(), "s")
	wantClass(t, err, container.ErrContainerNotFound)
}

func TestExit(t *testing.T) {
	for _, cmd := range [][]string{nil, {"sleep", "3600"}, {"sh", "-c", "sleep 3600; true"}} {
		m := start(t, container.Options{Cmd: cmd})
		events, err := m.Watch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !m.Engine().Exit("s", 7, false) || m.Engine().Exit("s", 8, false) {
			t.Fatal("there was one running container")
		}
		c, err := m.Get(t.Context(), "s")
		if err != nil || c.Status != container.StatusStopped || c.ExitCode != 7 || c.OOMKilled {
			t.Fatalf("container is %+v, %v", c, err)
		}
		if e := <-events; e.Kind != container.EventStopped {
			t.Errorf("event is %+v", e)
		}

		if err := m.Start(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		m.Engine().Exit("s", 0, true)
		c, err = m.Get(t.Context(), "s")
		if err != nil || c.ExitCode != 137 || !c.OOMKilled {
			t.Fatalf("container is %+v, %v", c, err)
		}
		for _, want := range []string{container.EventStarted, container.EventOOM, container.EventStopped} {
			if e := <-events; e.Kind != want {
				t.Errorf("event is %+v; want %s", e, want)
			}
		}
	}
}

// TestMainEndsInTime: a main process ends by itself when its time has come, and costs no
// goroutine until then.
func TestMainEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mock.NewMockProvider()
		defer m.Close()
		if _, err := m.Create(t.Context(), "s",
			container.Options{Image: "a", Cmd: []string{"sleep", "3600"}}); err != nil {
			t.Fatal(err)
		}
		if err := m.Start(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			after time.Duration
			want  string
		}{{59 * time.Minute, container.StatusRunning}, {2 * time.Minute, container.StatusStopped}} {
			time.Sleep(c.after)
			synctest.Wait()
			if got, err := m.Get(t.Context(), "s"); err != nil || got.Status != c.want {
				t.Fatalf("container is %+v, %v; want %s", got, err, c.want)
			}
		}
	})
}

func TestHandle(t *testing.T) {
	m := start(t, container.Options{Env: []string{"WHO=world"}})
	m.Engine().Handle("greet", func(ctx context.Context, p *mock.Process) int {
		in, err := io.ReadAll(p.Stdin)
		if err != nil {
			return 1
		}
		fmt.Fprintf(p.Stdout, "%s %s %s", strings.Join(p.Args, ","), p.Getenv("WHO"), in)
		return 3
	})
	for _, name := range []string{"greet", "/usr/bin/greet"} {
		res, err := m.Exec(t.Context(), "s", []string{name, "x"}, container.ExecOptions{Stdin: strings.NewReader("in")})
		if err != nil || res.ExitCode != 3 || res.Stdout != name+",x world in" {
			t.Fatalf("result is %+v, %v", res, err)
		}
	}
	if res := sh(t, m, "echo -n in | greet; echo $?"); res.Stdout != "greet world in3\n" {
		t.Errorf("through the shell: %q", res.Stdout)
	}
}

func TestLogIsBounded(t *testing.T) {
	m := start(t, container.Options{Cmd: []string{"sh", "-c", "yes | head -c 200000; echo the end"}})
	if err := m.Logs(t.Context(), "s", container.LogOptions{Follow: true}, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := m.Logs(t.Context(), "s", container.LogOptions{Tail: -1}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 100_000 || !strings.HasSuffix(out.String(), "the end\n") {
		t.Errorf("the log has %d bytes", out.Len())
	}
}

// TestIdleIsCheap: idle sessions cost no goroutine and little memory.
func TestIdleIsCheap(t *testing.T) {
	m := mock.NewMockProvider()
	t.Cleanup(m.Engine().Close)
	defer m.Close()
	const n = 1000
	goroutines, before := runtime.NumGoroutine(), heap()
	for i := range n {
		id := fmt.Sprint("s", i)
		opts := container.Options{Image: "debian:12", ProjectID: "p", Tty: i%2 == 0}
		if i%3 == 0 {
			opts.Cmd, opts.Tty = []string{"sleep", "infinity"}, false
		}
		if _, err := m.Create(t.Context(), id, opts); err != nil {
			t.Fatal(err)
		}
		if err := m.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if used := heap() - before; used > 3<<20 {
		t.Errorf("%d idle containers use %d bytes", n, used)
	}
	if got := runtime.NumGoroutine(); got > goroutines {
		t.Errorf("%d goroutines are there; before there were %d", got, goroutines)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkExec(b *testing.B) {
	m := start(b, container.Options{})
	for b.Loop() {
		if _, err := m.Exec(b.Context(), "s", []string{"true"}, container.ExecOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList10000(b *testing.B) {
	m := mock.NewMockProvider()
	b.Cleanup(m.Engine().Close)
	defer m.Close()
	for i := range 10_000 {
		id := fmt.Sprint("s", i)
		if _, err := m.Create(b.Context(), id, container.Options{Image: "debian:12", ProjectID: "p"}); err != nil {
			b.Fatal(err)
		}
		if err := m.Start(b.Context(), id); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		list, err := m.List(b.Context())
		if err != nil || len(list) != 10_000 {
			b.Fatal(len(list), err)
		}
	}
}

func BenchmarkCreateStartRemove(b *testing.B) {
	m := mock.NewMockProvider()
	defer m.Close()
	for b.Loop() {
		if _, err := m.Create(b.Context(), "s", container.Options{Image: "debian:12"}); err != nil {
			b.Fatal(err)
		}
		if err := m.Start(b.Context(), "s"); err != nil {
			b.Fatal(err)
		}
		if err := m.Remove(b.Context(), "s"); err != nil {
			b.Fatal(err)
		}
	}
}
