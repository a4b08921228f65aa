// Package containertest is the conformance suite of [container.Runtime]: what the seam's
// doc comments promise, asked of a provider, or of a wrapper around one, on its real engine.
//
// Expectations differ only by [container.Capabilities] and by which optional interfaces there
// are. Errors are judged by their class, never by their text. A fault that is found in one
// provider becomes a case here, for all of them.
package containertest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Harness connects the suite to an engine. All of its functions are needed, unless they say
// otherwise.
type Harness struct {
	// New makes a Runtime of the given instance. The suite closes it where it is a
	// [container.Closer]. Two of one instance see the same containers, as a daemon does that
	// was started again.
	New func(t *testing.T, instance string) container.Runtime

	// Isolated makes a Runtime as New does, whose sessions have networks that it makes for them;
	// nil where there is nothing like it. Networks asks the engine itself how many those of an
	// instance are.
	Isolated func(t *testing.T, instance string) container.Runtime
	Networks func(t *testing.T, instance string) int

	// Image is an image that the engine has: a busybox userland with ash as /bin/sh and without
	// bash, the users root and user (1000), no entrypoint, and root as its user.
	// Empty for "octobot-test:busybox".
	Image string

	// Dead makes a Runtime whose engine does not answer.
	Dead func(t *testing.T) container.Runtime

	// Foreign makes a container, not running, of that name and with those labels, past any
	// provider, and removes it when the test ends.
	Foreign func(t *testing.T, name string, labels map[string]string)

	// Rename has the engine itself give a container another name, as a person may do.
	Rename func(t *testing.T, name, to string)

	// Count asks the engine itself how many containers, in whatever state, carry all of the
	// labels.
	Count func(t *testing.T, labels map[string]string) int

	// Planned asks the engine itself for the host's ports that it has picked for a container
	// that does not run, by its name; none where it picks them at the start.
	Planned func(t *testing.T, name string) []int

	// Peer makes the program of package peer, an executable for containers; nil where they have it
	// as /bin/peer.
	Peer func(t *testing.T) []byte

	// Topics are those to run, for a wrapper that leaves all others to what it wraps; empty: all.
	Topics []string

	// Excused names cases that a fault of the engine's, not the provider's, makes
	// fail, and explains the fault: "exec/Tty size": "libpod 4.3 starts with 0 0".
	Excused map[string]string
}

// Run runs the whole suite, each case a parallel subtest with an instance of its own.
func Run(t *testing.T, h Harness) {
	h.Image = cmp.Or(h.Image, "octobot-test:busybox")
	for name := range h.Excused {
		if !slices.Contains(caseNames(), name) {
			t.Fatalf("excused case %q does not exist", name)
		}
	}
	for _, topic := range topics {
		if len(h.Topics) > 0 && !slices.Contains(h.Topics, topic.name) {
			continue
		}
		t.Run(topic.name, func(t *testing.T) {
			runShared(t, h, topic)
			idle := beginIdle(t, h, topic)
			for _, c := range topic.cases {
				t.Run(c.name, func(t *testing.T) {
					if why, ok := h.Excused[topic.name+"/"+c.name]; ok {
						t.Skipf("excused: %s", why)
					}
					t.Parallel()
					f := newFixture(t, h)
					f.lodging = idle
					c.run(f)
				})
			}
		})
	}
}

func caseNames() []string {
	var names []string
	for _, topic := range topics {
		for _, c := range topic.cases {
			names = append(names, topic.name+"/"+c.name)
		}
		for _, c := range topic.shared {
			names = append(names, topic.name+"/"+c.name)
		}
	}
	return names
}

type topic struct {
	name   string
	cases  []testCase
	shared []sharedCase
	idle   bool // some of its cases share a container, see fixture.shared
}

type testCase struct {
	name string
	run  func(*fixture)
}

var topics = []topic{
	{name: "lifecycle", cases: lifecycleCases},
	{name: "list", cases: listCases},
	{name: "arguments", cases: argumentCases},
	{name: "cancel", cases: cancelCases},
	{name: "options", cases: optionCases},
	{name: "exit", cases: exitCases},
	{name: "exec", cases: execCases, idle: true},
	{name: "stream", cases: streamCases, idle: true},
	{name: "attach", cases: attachCases, idle: true},
	{name: "terminals", cases: terminalCases, idle: true},
	{name: "processes", cases: processCases, idle: true},
	{name: "dialing", cases: dialingCases},
	{name: "ports", cases: portCases},
	{name: "networks", cases: networkCases},
	{name: "logs", cases: logCases},
	{name: "files", cases: fileCases, idle: true},
	{name: "filesystem", cases: filesCases, shared: filesystemCases},
	{name: "archives", shared: archiveCases},
	{name: "filewatch", shared: watchCases},
	{name: "filesearch", shared: searchCases},
	{name: "pause", cases: pauseCases},
	{name: "stats", cases: statsCases},
	{name: "signal", cases: signalCases},
	{name: "top", cases: topCases},
	{name: "update", cases: updateCases},
	{name: "host processes", cases: hostProcessCases},
	{name: "events", cases: eventCases},
	{name: "faults", cases: faultCases},
}

const (
	// caseTimeout is far above what a case takes on a slow machine; it turns a hang
	// into a failure.
	caseTimeout = 90 * time.Second
	// promptly bounds what must not wait for something much longer.
	promptly = 20 * time.Second
	pollEach = 10 * time.Millisecond
	// missingImage is one that no engine has and no registry gives.
	missingImage = "localhost:1/octobot-missing:none"
)

// fixture is what one case works with.
type fixture struct {
	*testing.T
	h        Harness
	ctx      context.Context
	instance string
	rt       container.Runtime
	caps     container.Capabilities
	lodging  *lodging // of the topic's cases that share a container; nil: there is none
}

func newFixture(t *testing.T, h Harness) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), caseTimeout)
	t.Cleanup(cancel)
	f := &fixture{T: t, h: h, ctx: ctx, instance: "ct-" + strings.ToLower(rand.Text()[:10])}
	f.rt = f.open(f.instance)
	f.caps = container.CapabilitiesOf(f.rt)
	return f
}

// open makes a Runtime, and arranges that its containers are removed and that nothing of
// its instance is left when the case ends.
func (f *fixture) open(instance string) container.Runtime {
	f.Helper()
	rt := f.h.New(f.T, instance)
	f.Cleanup(func() {
		closeRuntime(f.T, rt)
		f.sweep(instance)
	})
	return rt
}

// sweep removes the containers of an instance through a Runtime of its own: a case may
// have closed its own.
func (f *fixture) sweep(instance string) {
	ctx, cancel := context.WithTimeout(context.Background(), caseTimeout)
	defer cancel()
	rt := f.h.New(f.T, instance)
	defer closeRuntime(f.T, rt)
	list, err := rt.List(ctx)
	if err != nil {
		f.Errorf("sweep: %v", err)
		return
	}
	for _, c := range list {
		if err := rt.Remove(ctx, c.SessionID); err != nil && !errors.Is(err, container.ErrContainerNotFound) {
			f.Errorf("sweep: %v", err)
		}
	}
	if n := f.h.Count(f.T, map[string]string{container.LabelInstance: instance}); n != 0 {
		f.Errorf("%d containers of instance %s are left", n, instance)
	}
}

func closeRuntime(t *testing.T, rt container.Runtime) {
	t.Helper()
	if c, ok := container.As[container.Closer](rt); ok {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

// id makes a session's ID that no other case uses: names are the engine's, not the instance's.
func (f *fixture) id(s string) string { return f.instance + "-" + s }

// idle is what a container runs that just has to be there.
func (f *fixture) idle() container.Options {
	return container.Options{Image: f.h.Image, Cmd: []string{"sleep", "3600"}}
}

func (f *fixture) script(script string) container.Options {
	return container.Options{Image: f.h.Image, Cmd: []string{"sh", "-c", script}}
}

func (f *fixture) create(id string, opts container.Options) *container.Container {
	f.Helper()
	c, err := f.rt.Create(f.ctx, id, opts)
	f.must(err)
	return c
}

// start makes a running container.
func (f *fixture) start(id string, opts container.Options) *container.Container {
	f.Helper()
	f.create(id, opts)
	f.must(f.rt.Start(f.ctx, id))
	return f.get(id)
}

// running makes a running idle container and returns its session's ID.
func (f *fixture) running() string {
	f.Helper()
	id := f.id("s")
	f.start(id, f.idle())
	return id
}

func (f *fixture) get(id string) *container.Container {
	f.Helper()
	c, err := f.rt.Get(f.ctx, id)
	f.must(err)
	return c
}

func (f *fixture) exec(id string, opts container.ExecOptions, cmd ...string) *container.ExecResult {
	f.Helper()
	res, err := f.rt.Exec(f.ctx, id, cmd, opts)
	f.must(err)
	return res
}

// sh runs a script that must succeed, and returns its output without the last line's end.
func (f *fixture) sh(id, script string) string {
	f.Helper()
	res := f.exec(id, container.ExecOptions{}, "sh", "-c", script)
	if res.ExitCode != 0 {
		f.Fatalf("%s: exit code %d, stderr %q", script, res.ExitCode, res.Stderr)
	}
	return strings.TrimSuffix(res.Stdout, "\n")
}

// stopped waits until the main process has ended by itself.
func (f *fixture) stopped(id string) *container.Container {
	f.Helper()
	var c *container.Container
	f.poll("container to stop", func() bool {
		c = f.get(id)
		return c.Status == container.StatusStopped
	})
	return c
}

// count asks the engine for the containers of a session of this instance.
func (f *fixture) count(id string) int {
	f.Helper()
	return f.h.Count(f.T, map[string]string{container.LabelInstance: f.instance, container.LabelSession: id})
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// class checks an error; about says what gave it, where that is not plain from the line.
func (f *fixture) class(err, want error, about ...any) {
	f.Helper()
	what := strings.TrimPrefix(fmt.Sprint(about...)+": ", ": ")
	if err == nil || container.ClassOf(err) != want || !errors.Is(err, want) {
		f.Fatalf("%serror is %v, of class %v; want class %v", what, err, container.ClassOf(err), want)
	}
	if _, ok := errors.AsType[*container.Error](err); !ok {
		f.Fatalf("%serror %q is a %T; want a *container.Error in its chain", what, err, err)
	}
}

// each checks that every one of the calls gives want, and soon.
func (f *fixture) each(calls map[string]func() error, want error) {
	f.Helper()
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		f.mustBePrompt(name, func() { f.class(calls[name](), want, name) })
	}
}

func (f *fixture) equal(what string, got, want any) {
	f.Helper()
	if got != want {
		f.Fatalf("%s is %s; want %s", what, show(got), show(want))
	}
}

func show(v any) string {
	s := fmt.Sprintf("%#v", v)
	if len(s) > 300 {
		return s[:300] + fmt.Sprintf("… (%d bytes)", len(s))
	}
	return s
}

// poll waits until done says so.
func (f *fixture) poll(what string, done func() bool) {
	f.Helper()
	for !done() {
		select {
		case <-f.ctx.Done():
			f.Fatalf("waited in vain for %s", what)
		case <-time.After(pollEach):
		}
	}
}

// mustBePrompt fails where fn takes so long that it must have waited for something it must not
// wait for.
func (f *fixture) mustBePrompt(what string, fn func()) {
	f.Helper()
	start := time.Now()
	fn()
	if took := time.Since(start); took > promptly {
		f.Fatalf("%s took %v", what, took)
	}
}

// processes are the command lines of what runs in the container.
func (f *fixture) processes(id string) string {
	f.Helper()
	return f.exec(id, container.ExecOptions{}, "ps", "-o", "args").Stdout
}

// optional finds an optional interface, and whether there is something to test.
func optional[T any](f *fixture) (T, bool) {
	f.Helper()
	t, ok := container.As[T](f.rt)
	if !ok {
		f.Logf("%T does not implement %T", f.rt, (*T)(nil))
	}
	return t, ok
}
