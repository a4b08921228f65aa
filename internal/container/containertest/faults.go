package containertest

import (
	"context"

	"github.com/octobot-run/octobot/internal/container"
)

var faultCases = []testCase{
	{"engine gone", testEngineGone},
	{"closed", testClosed},
	{"close ends what is under way", testCloseUnderWay},
	{"probe", testProbe},
}

// sessionless are the methods that are about no session that exists.
func (f *fixture) sessionless(rt container.Runtime) map[string]func() error {
	calls := map[string]func() error{
		"create": func() error { _, err := rt.Create(f.ctx, f.id("new"), f.idle()); return err },
		"list":   func() error { _, err := rt.List(f.ctx); return err },
	}
	if w, ok := container.As[container.Watcher](rt); ok {
		calls["watch"] = func() error { _, err := w.Watch(f.ctx); return err }
	}
	if p, ok := container.As[container.Prober](rt); ok {
		calls["probe"] = func() error { _, err := p.Probe(f.ctx); return err }
	}
	return calls
}

// testEngineGone: not to know is never to know that there is nothing.
func testEngineGone(f *fixture) {
	rt := f.h.Dead(f.T)
	f.Cleanup(func() { closeRuntime(f.T, rt) })
	f.each(f.everyCall(rt, f.id("s")), container.ErrUnavailable)
	f.each(f.sessionless(rt), container.ErrUnavailable)
	f.class(rt.Start(f.ctx, "../x"), container.ErrInvalidArgument)
}

func testClosed(f *fixture) {
	if _, ok := optional[container.Closer](f); !ok {
		return
	}
	id := f.running()
	for range 2 {
		closeRuntime(f.T, f.rt)
	}
	f.each(f.everyCall(f.rt, id), container.ErrClosed)
	f.each(f.sessionless(f.rt), container.ErrClosed)
	f.equal("containers", f.count(id), 1)
	f.rt = f.open(f.instance)
	f.equal("status", f.get(id).Status, container.StatusRunning)
}

func testCloseUnderWay(f *fixture) {
	if _, ok := optional[container.Closer](f); !ok {
		return
	}
	id := f.running()
	failed := make(chan error, 1)
	go func() {
		_, err := f.rt.Exec(context.WithoutCancel(f.ctx), id, []string{"sleep", "4242"}, container.ExecOptions{})
		failed <- err
	}()
	f.awaitProcess(id, "sleep 4242")
	f.mustBePrompt("close", func() {
		closeRuntime(f.T, f.rt)
		f.class(<-failed, container.ErrClosed)
	})
	f.rt = f.open(f.instance)
	f.equal("status", f.get(id).Status, container.StatusRunning)
	if f.caps.KillsExec {
		f.awaitGone(id, "4242")
	}
}

func testProbe(f *fixture) {
	p, ok := optional[container.Prober](f)
	if !ok {
		return
	}
	info, err := p.Probe(f.ctx)
	f.must(err)
	if info.Name == "" || info.OS == "" || info.Arch == "" || info.Host == "" {
		f.Fatalf("engine is %+v", info)
	}
}
