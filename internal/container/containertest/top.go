package containertest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/octobot-run/octobot/internal/container"
)

var topCases = []testCase{
	{"lists what runs", testTop},
}

func testTop(f *fixture) {
	topper, ok := optional[container.Topper](f)
	if !ok {
		return
	}
	id := f.id("s")
	f.create(id, f.script("sleep 4244 & sleep 4245; sleep 4246"))
	_, err := topper.Top(f.ctx, id)
	f.class(err, container.ErrContainerStopped)
	f.must(f.rt.Start(f.ctx, id))
	find := func(top *container.Top, cmd string) *container.RunningProcess {
		i := slices.IndexFunc(top.Processes, func(p container.RunningProcess) bool { return p.Cmd == cmd })
		if i < 0 {
			return nil
		}
		return &top.Processes[i]
	}
	var top *container.Top
	f.poll("both processes", func() bool {
		top, err = topper.Top(f.ctx, id)
		f.must(err)
		return find(top, "sleep 4244") != nil && find(top, "sleep 4245") != nil
	})
	p := find(top, "sleep 4244")
	if p.PID < 1 || p.User == "" || p.Elapsed < 0 || p.CPUTime < 0 || f.caps.RealProcesses && p.Memory <= 0 {
		f.Fatalf("a process is %+v", *p)
	}
	if !slices.ContainsFunc(top.Processes, func(q container.RunningProcess) bool {
		return q.PID == p.Parent && strings.Contains(q.Cmd, "sh -c")
	}) {
		f.Fatalf("the parent of %+v is not among %+v", *p, top.Processes)
	}
	if f.get(id).Exec.Agent && top.HostPIDs {
		f.Fatal("the agent tells the host's PIDs")
	}
	if f.caps.RealProcesses && !top.HostPIDs {
		f.equal("the process of that PID", f.sh(id, fmt.Sprintf("cat /proc/%d/comm", p.PID)), "sleep")
	}
	if !slices.IsSortedFunc(top.Processes, func(a, b container.RunningProcess) int { return a.PID - b.PID }) {
		f.Fatalf("not by PID: %+v", top.Processes)
	}
	if pauser, ok := container.As[container.Pauser](f.rt); ok {
		f.must(pauser.Pause(f.ctx, id))
		if top, err = topper.Top(f.ctx, id); err != nil {
			f.class(err, container.ErrContainerPaused)
		} else if find(top, "sleep 4244") == nil {
			f.Fatalf("of a paused container: %+v", top)
		}
	}
	f.must(f.rt.Stop(f.ctx, id, 0))
	_, err = topper.Top(f.ctx, id)
	f.class(err, container.ErrContainerStopped)
}
