package systemtest

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	_ "modernc.org/sqlite" // the checker reads the database itself
)

// row is a session as the database has it.
type row struct {
	id, desired, pending, containerID string
	failed, closed                    bool
}

// rows reads the sessions with SQL of its own.
func rows(t *testing.T, driver, source string) map[string]row {
	t.Helper()
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	result, err := db.Query(`SELECT id, desired, pending, container_id, failure IS NOT NULL, closed_at IS NOT NULL FROM sessions`)
	if err != nil {
		t.Fatal(err)
	}
	defer result.Close()
	all := map[string]row{}
	for result.Next() {
		var r row
		if err := result.Scan(&r.id, &r.desired, &r.pending, &r.containerID, &r.failed, &r.closed); err != nil {
			t.Fatal(err)
		}
		all[r.id] = r
	}
	if err := result.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func sqliteRows(t *testing.T, path string) map[string]row {
	return rows(t, "sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(5000)")
}

// containers asks the engine for all containers of an instance, however they are named.
func containers(t *testing.T, engine *client.Client, instance string) []container.Summary {
	t.Helper()
	list, err := engine.ContainerList(context.WithoutCancel(t.Context()), client.ContainerListOptions{
		All: true, Filters: make(client.Filters).Add("label", "octobot.instance="+instance)})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// removeAll removes what a test's instance has on a shared engine, its network too.
func removeAll(t *testing.T, engine *client.Client, instance string) {
	for _, c := range containers(t, engine, instance) {
		_, err := engine.ContainerRemove(context.WithoutCancel(t.Context()), c.ID,
			client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil {
			t.Errorf("clean up: %v", err)
		}
	}
	networks, err := engine.NetworkList(context.WithoutCancel(t.Context()), client.NetworkListOptions{
		Filters: make(client.Filters).Add("label", "octobot.instance="+instance)})
	if err != nil {
		t.Errorf("clean up: %v", err)
	}
	for _, n := range networks.Items {
		if _, err := engine.NetworkRemove(context.WithoutCancel(t.Context()), n.ID,
			client.NetworkRemoveOptions{}); err != nil && !cerrdefs.IsNotFound(err) { // its daemon may be at it
			t.Errorf("clean up: %v", err)
		}
	}
}

// violations says in what the engine and the store disagree after a reconciliation: a container
// without a session, a session without its container, two containers of one session,
// a state that is not the wanted one, or a change that was left half done.
func violations(sessions map[string]row, containers []container.Summary) []string {
	var found []string
	of := map[string][]container.Summary{}
	for _, c := range containers {
		id := c.Labels["octobot.session"]
		of[id] = append(of[id], c)
		if r, ok := sessions[id]; !ok || r.closed {
			found = append(found, fmt.Sprintf("container %.12s (%s) has no session %q", c.ID, c.State, id))
		}
	}
	for id, r := range sessions {
		if r.pending != "" {
			found = append(found, fmt.Sprintf("session %q is left with a pending %s", id, r.pending))
		}
		if r.closed || r.failed {
			continue
		}
		switch own := of[id]; {
		case len(own) == 0:
			found = append(found, fmt.Sprintf("session %q (%s) has no container", id, r.desired))
		case len(own) > 1:
			found = append(found, fmt.Sprintf("session %q has %d containers", id, len(own)))
		case own[0].ID != r.containerID:
			found = append(found, fmt.Sprintf("session %q records container %.12s, the engine has %.12s", id,
				r.containerID, own[0].ID))
		case (own[0].State == container.StateRunning) != (r.desired == "running"):
			found = append(found, fmt.Sprintf("session %q should be %s, its container is %s", id, r.desired,
				own[0].State))
		}
	}
	slices.Sort(found)
	return found
}

// check fails the test with every violation.
func check(t *testing.T, sessions map[string]row, containers []container.Summary) {
	t.Helper()
	if found := violations(sessions, containers); len(found) > 0 {
		t.Errorf("%d violations:\n%s", len(found), strings.Join(found, "\n"))
	}
}

// The checker is what the other tests rest on, so it must be able to fail.
func TestViolations(t *testing.T) {
	on := func(id, session, state string) container.Summary {
		return container.Summary{ID: id, State: container.ContainerState(state),
			Labels: map[string]string{"octobot.session": session}}
	}
	good := map[string]row{"a": {id: "a", desired: "running", containerID: "1"},
		"b": {id: "b", desired: "stopped", containerID: "2"},
		"c": {id: "c", desired: "closed", closed: true}, "d": {id: "d", desired: "running", failed: true}}
	both := []container.Summary{on("1", "a", "running"), on("2", "b", "exited")}
	for name, test := range map[string]struct {
		sessions   map[string]row
		containers []container.Summary
		want       int
	}{
		"agree":                       {good, both, 0},
		"container without a session": {good, append(slices.Clone(both), on("9", "x", "running")), 1},
		"container of a closed one":   {good, append(slices.Clone(both), on("9", "c", "exited")), 1},
		"session without container":   {good, both[:1], 1},
		"two containers":              {good, append(slices.Clone(both), on("9", "a", "running")), 1},
		"another container":           {good, []container.Summary{on("9", "a", "running"), both[1]}, 1},
		"not running":                 {good, []container.Summary{on("1", "a", "exited"), both[1]}, 1},
		"running though stopped":      {good, []container.Summary{both[0], on("2", "b", "running")}, 1},
		"left half done": {map[string]row{"a": {desired: "closed", pending: "close", closed: true}}, nil,
			1},
		"nothing at all, and it's all": {nil, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := violations(test.sessions, test.containers); len(got) != test.want {
				t.Errorf("got %d: %q; want %d", len(got), got, test.want)
			}
		})
	}
}
