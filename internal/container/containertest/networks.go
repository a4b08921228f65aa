package containertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// The cases need a Harness with Isolated.
var networkCases = []testCase{
	{"apart", testNetworksApart},
	{"come and go", testNetworksComeAndGo},
	{"many", testNetworksMany},
}

// isolate has the case work with a Runtime that makes its sessions' networks; false where there is
// none.
func (f *fixture) isolate() bool {
	f.Helper()
	if f.h.Isolated == nil {
		return false
	}
	f.rt = f.h.Isolated(f.T, f.instance)
	rt := f.rt
	f.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), caseTimeout)
		defer cancel()
		list, err := rt.List(ctx)
		if err != nil {
			f.Errorf("clean up: %v", err)
		}
		for _, c := range list {
			if err := rt.Remove(ctx, c.SessionID); err != nil && !errors.Is(err, container.ErrContainerNotFound) {
				f.Errorf("clean up: %v", err)
			}
		}
		closeRuntime(f.T, rt)
		if n := f.h.Networks(f.T, f.instance); n != 0 {
			f.Errorf("%d networks of instance %s are left", n, f.instance)
		}
	})
	return true
}

// awaitNoNetworks: what is unused is removed, though not at once.
func (f *fixture) awaitNoNetworks() {
	f.Helper()
	f.poll("the networks to be gone", func() bool { return f.h.Networks(f.T, f.instance) == 0 })
}

// testNetworksApart: no session reaches another, and none learns of a session of another project,
// by its name, by its address, and from whichever name server.
func testNetworksApart(f *fixture) {
	if !f.isolate() {
		return
	}
	projects := map[string]string{f.id("a"): "p1", f.id("b"): "p2", f.id("c"): "p1", f.id("d"): ""}
	address, gateway := map[string]string{}, map[string]string{}
	for id, project := range projects {
		opts := f.script("while true; do echo hello | nc -l -p 7070; done")
		opts.ProjectID = project
		f.start(id, opts)
		address[id] = strings.TrimSpace(f.sh(id, "hostname -i"))
		gateway[id] = f.sh(id, "ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p'")
		// What can't be reached from elsewhere is there.
		f.poll("the session to listen", func() bool {
			return f.exec(id, container.ExecOptions{}, "sh", "-c", "nc -w 1 "+address[id]+" 7070 </dev/null").Stdout ==
				"hello\n"
		})
	}
	var asking sync.WaitGroup
	for from := range projects {
		asking.Go(func() {
			for to, project := range projects {
				if from == to {
					continue
				}
				res, err := f.rt.Exec(f.ctx, from, []string{"sh", "-c", "nc -w 2 " + address[to] + " 7070 </dev/null"},
					container.ExecOptions{})
				if err != nil || res.Stdout != "" {
					f.Errorf("from %q to %q: %+v, %v; want no connection", projects[from], project, res, err)
				}
				if project == projects[from] {
					continue
				}
				name := container.Name(to)
				script := "cat /etc/hosts; "
				for _, server := range []string{"", gateway[to], gateway[from]} {
					script += fmt.Sprintf("timeout 3 nslookup %s %s & timeout 3 nslookup %s %s & ", name, server,
						address[to],
						server)
				}
				res, err = f.rt.Exec(f.ctx, from, []string{"sh", "-c", script + "wait"}, container.ExecOptions{})
				if err != nil {
					f.Errorf("from %q to %q: %v", projects[from], project, err)
					continue
				}
				// The answer to the one has the address in it, to the other the name.
				for line := range strings.Lines(res.Stdout) {
					if strings.Contains(line, "Address: "+address[to]) || strings.Contains(line, "name = ") {
						f.Errorf("from %q to %q: a name server says %q", projects[from], project, line)
					}
				}
			}
		})
	}
	asking.Wait()
}

// testNetworksComeAndGo: a network that goes with its last session is in nobody's way who joins it.
func testNetworksComeAndGo(f *fixture) {
	if !f.isolate() {
		return
	}
	var working sync.WaitGroup
	for i := range 4 {
		working.Go(func() {
			for range 4 {
				id := f.id(fmt.Sprint("s", i))
				opts := f.idle()
				opts.ProjectID = "p"
				_, err := f.rt.Create(f.ctx, id, opts)
				if err == nil {
					err = f.rt.Start(f.ctx, id)
				}
				if err = errors.Join(err, f.rt.Remove(f.ctx, id)); err != nil {
					f.Errorf("create, start and remove: %v", err)
				}
			}
		})
	}
	working.Wait()
	f.awaitNoNetworks()
	f.start(f.id("again"), f.idle())
}

// testNetworksMany: there are more projects than an engine has networks to give by itself.
func testNetworksMany(f *fixture) {
	if !f.isolate() {
		return
	}
	const projects = 40
	ids := make(chan string)
	var working sync.WaitGroup
	for range 4 {
		working.Go(func() {
			for id := range ids {
				opts := f.idle()
				opts.ProjectID = "project-of-" + id
				if _, err := f.rt.Create(f.ctx, id, opts); err != nil {
					f.Errorf("create: %v", err)
				}
			}
		})
	}
	began := time.Now()
	for i := range projects {
		ids <- f.id(fmt.Sprint(i))
	}
	close(ids)
	working.Wait()
	f.Logf("%d sessions with a network each took %v", projects, time.Since(began))
	f.equal("number of networks", f.h.Networks(f.T, f.instance), projects)
	for i := range projects {
		f.must(f.rt.Remove(f.ctx, f.id(fmt.Sprint(i))))
	}
	f.awaitNoNetworks()
}
