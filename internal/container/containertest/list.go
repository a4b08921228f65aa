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
	{"strangers", testStrangers},
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

// testStrangers: what another instance has on the engine is told, and removed on somebody's word
// alone, who names the instance.
func testStrangers(f *fixture) {
	keeper, ok := optional[container.StrangerKeeper](f)
	if !ok {
		return
	}
	instance := f.instance + "-other"
	other, id := f.open(instance), f.id("theirs")
	opts := f.idle()
	opts.ProjectID, opts.Origin = "p1", "here: sqlite"
	made, err := other.Create(f.ctx, id, opts)
	f.must(err)
	f.must(other.Start(f.ctx, id))
	own := f.create(f.id("own"), f.idle())

	strangers := func() (ids []string) {
		f.Helper()
		list, err := keeper.ListStrangers(f.ctx) // other tests' among them
		f.must(err)
		for _, c := range list {
			if c.ID == own.ID {
				f.Fatal("its own container is a stranger")
			}
			if c.Labels[container.LabelInstance] != instance {
				continue
			}
			ids = append(ids, c.ID)
			f.equal("session", c.SessionID, id)
			f.equal("status", c.Status, container.StatusRunning)
			f.equal("project", c.Labels[container.LabelProject], "p1")
			f.equal("origin", c.Labels[container.LabelOrigin], opts.Origin)
			f.equal("image", c.Image, f.h.Image)
			if c.CreatedAt.IsZero() {
				f.Fatal("nobody says since when it is there")
			}
		}
		return ids
	}
	if ids := strangers(); len(ids) != 1 || ids[0] != made.ID {
		f.Fatalf("strangers are %q; want %q", ids, made.ID)
	}
	f.class(keeper.RemoveStranger(f.ctx, f.instance, made.ID), container.ErrContainerNotFound)
	f.class(keeper.RemoveStranger(f.ctx, f.instance, own.ID), container.ErrContainerNotFound)
	f.class(keeper.RemoveStranger(f.ctx, instance, own.ID), container.ErrContainerNotFound)
	f.equal("containers", f.count(f.id("own")), 1)
	f.must(keeper.RemoveStranger(f.ctx, instance, made.ID))
	f.equal("strangers left", len(strangers()), 0)
	f.class(keeper.RemoveStranger(f.ctx, instance, made.ID), container.ErrContainerNotFound)
}
