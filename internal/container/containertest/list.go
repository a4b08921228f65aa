package containertest

import (
	"fmt"
	"slices"

	"github.com/octobot-run/octobot/internal/container"
)

var listCases = []testCase{
	{"empty", testListEmpty},
	{"order of creation", testListOrder},
	{"states", testListStates},
	{"only this instance", testListInstance},
	{"foreign containers", testForeign},
	{"many", testListMany},
}

// sessions are the IDs that a List gives, in its order.
func (f *fixture) sessions(rt container.Runtime) []string {
	f.Helper()
	list, err := rt.List(f.ctx)
	f.must(err)
	ids := []string{}
	for _, c := range list {
		ids = append(ids, c.SessionID)
	}
	return ids
}

func testListEmpty(f *fixture) {
	f.equal("number of containers", len(f.sessions(f.rt)), 0)
}

func testListOrder(f *fixture) {
	var want []string
	for _, s := range []string{"c", "a", "d", "b"} {
		f.create(f.id(s), f.idle())
		want = append(want, f.id(s))
	}
	f.must(f.rt.Start(f.ctx, want[2])) // which is no creation
	if got := f.sessions(f.rt); !slices.Equal(got, want) {
		f.Fatalf("list is %v; want %v", got, want)
	}
}

func testListStates(f *fixture) {
	f.create(f.id("created"), f.idle())
	f.start(f.id("running"), f.idle())
	f.start(f.id("stopped"), f.idle())
	f.must(f.rt.Stop(f.ctx, f.id("stopped"), 0))

	list, err := f.rt.List(f.ctx)
	f.must(err)
	f.equal("number of containers", len(list), 3)
	for i, want := range []string{container.StatusCreated, container.StatusRunning, container.StatusStopped} {
		c := list[i]
		f.equal("session", c.SessionID, f.id(want))
		f.equal("status", c.Status, want)
		one := f.get(c.SessionID)
		f.equal("engine's ID", c.ID, one.ID)
		f.equal("address", c.Address, one.Address)
		f.equal("image", c.Image, one.Image)
		f.equal("instance", c.Labels[container.LabelInstance], f.instance)
		if c.CreatedAt.Unix() != one.CreatedAt.Unix() { // engines list whole seconds
			f.Fatalf("created at %v and %v", c.CreatedAt, one.CreatedAt)
		}
		if c.Detailed && (!c.StartedAt.Equal(one.StartedAt) || c.ExitCode != one.ExitCode) {
			f.Fatalf("details differ: %+v, %+v", c, one)
		}
	}
}

// testListInstance: two installations on one engine never see, and above all never
// touch, each other's containers.
func testListInstance(f *fixture) {
	id := f.running()
	other := f.open(f.instance + "-other")
	f.equal("containers of the other instance", len(f.sessions(other)), 0)
	f.each(f.everyCall(other, id), container.ErrContainerNotFound)
	// Names are the engine's, so the session can't be made, and the first stays.
	_, err := other.Create(f.ctx, id, f.idle())
	f.class(err, container.ErrContainerExists)
	f.equal("status", f.get(id).Status, container.StatusRunning)
	f.equal("output", f.sh(id, "echo untouched"), "untouched")
}

// testForeign: neither a label nor a name alone makes a container ours.
func testForeign(f *fixture) {
	for i, labels := range []map[string]string{
		nil,
		{container.LabelOctobot: "true"},
		{container.LabelOctobot: "true", container.LabelInstance: f.instance + "-other"},
		{container.LabelInstance: f.instance + "-other", container.LabelSession: "elsewhere"},
	} {
		id := f.id(fmt.Sprint("foreign", i))
		marked := map[string]string{"octobot-test": id}
		if labels != nil {
			labels[container.LabelSession] = id
		}
		for k, v := range labels {
			marked[k] = v
		}
		f.h.Foreign(f.T, container.Name(id), marked)
		f.equal("number of containers", len(f.sessions(f.rt)), 0)
		f.each(f.everyCall(f.rt, id), container.ErrContainerNotFound)
		f.equal("foreign containers", f.h.Count(f.T, map[string]string{"octobot-test": id}), 1)
	}
}

func testListMany(f *fixture) {
	const n = 20
	for i := range n {
		f.create(f.id(fmt.Sprint(i)), f.idle())
	}
	f.equal("number of containers", len(f.sessions(f.rt)), n)
}
