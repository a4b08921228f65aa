package containertest

import "github.com/octobot-run/octobot/internal/container"

var updateCases = []testCase{
	{"limits", testUpdate},
}

func testUpdate(f *fixture) {
	u, ok := optional[container.Updater](f)
	stats, hasStats := optional[container.StatsReader](f)
	if !ok || !hasStats {
		return
	}
	id := f.id("s")
	f.class(u.Update(f.ctx, id, container.Resources{PIDs: 64}), container.ErrContainerNotFound)
	opts := f.idle()
	opts.Resources = container.Resources{Memory: 64 << 20, PIDs: 100}
	f.create(id, opts)
	memory := func() int64 {
		f.Helper()
		s, err := stats.Stats(f.ctx, id)
		f.must(err)
		return s.MemoryLimit
	}
	for _, refused := range []container.Resources{{Memory: 1}, {CPUs: -1}, {PIDs: 1}} {
		f.class(u.Update(f.ctx, id, refused), container.ErrInvalidArgument, refused)
	}
	// Known since the create, which asked the engine.
	if !container.CapabilitiesOf(f.rt).UpdatesResources {
		f.class(u.Update(f.ctx, id, container.Resources{Memory: 96 << 20}), container.ErrUnsupported)
		f.must(f.rt.Start(f.ctx, id))
		f.class(u.Update(f.ctx, id, container.Resources{Memory: 96 << 20}), container.ErrUnsupported)
		f.equal("memory limit", memory(), int64(64<<20))
		return
	}
	f.must(u.Update(f.ctx, id, container.Resources{Memory: 96 << 20})) // before it runs
	f.must(f.rt.Start(f.ctx, id))
	f.equal("memory limit", memory(), int64(96<<20))
	for range 2 {
		f.must(u.Update(f.ctx, id, container.Resources{CPUs: 0.5, PIDs: 64}))
	}
	f.equal("memory limit after others changed", memory(), int64(96<<20))
	f.must(u.Update(f.ctx, id, container.Resources{Memory: 48 << 20}))
	f.equal("memory limit", memory(), int64(48<<20))
	if !f.caps.EnforcesResources || !f.caps.RealProcesses {
		return
	}
	out := f.exec(id, container.ExecOptions{}, "sh", "-c", "for i in $(seq 80); do sleep 4243 >/dev/null 2>&1 & done")
	if out.Stdout+out.Stderr == "" {
		f.Fatal("80 processes were started beside a limit of 64")
	}
	f.must(f.rt.Stop(f.ctx, id, 0))
	f.must(f.rt.Start(f.ctx, id))
	f.equal("memory limit after a start", memory(), int64(48<<20))
}
