package containertest

import "github.com/octobot-run/octobot/internal/container"

var hostProcessCases = []testCase{
	{"main process", testMainPID},
}

func testMainPID(f *fixture) {
	p, ok := optional[container.HostProcesses](f)
	if !ok {
		return
	}
	_, err := p.MainPID(f.ctx, f.id("none"))
	f.class(err, container.ErrContainerNotFound)
	id := f.id("s")
	f.create(id, f.idle())
	_, err = p.MainPID(f.ctx, id)
	f.class(err, container.ErrContainerStopped)
	f.must(f.rt.Start(f.ctx, id))
	first, err := p.MainPID(f.ctx, id)
	f.must(err)
	if first <= 1 {
		f.Errorf("the main process is %d", first)
	}
	f.must(f.rt.Stop(f.ctx, id, 0))
	_, err = p.MainPID(f.ctx, id)
	f.class(err, container.ErrContainerStopped)
	f.must(f.rt.Start(f.ctx, id))
	if second, err := p.MainPID(f.ctx, id); err != nil || second == first {
		f.Errorf("after a start anew it is %d, %v; it was %d", second, err, first)
	}
}
