package docker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/docker"
)

// eachEngine runs a test against every engine there is, in an instance of its own.
func eachEngine(t *testing.T, test func(t *testing.T, p *docker.DockerProvider, cli *client.Client, instance string)) {
	for name := range engineVariables {
		t.Run(name, func(t *testing.T) {
			host := engineHost(t, name)
			instance := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
			cli := engineClient(t, host)
			t.Cleanup(func() { removeNetworks(t, cli, instance) })
			p := open(t, config.Config{Instance: instance, Docker: config.Docker{Host: host}})
			test(t, p, cli, instance)
		})
	}
}

func removeNetworks(t *testing.T, cli *client.Client, instance string) {
	for _, n := range networksOf(t, cli, instance) {
		if _, err := cli.NetworkRemove(context.Background(), n.ID, client.NetworkRemoveOptions{}); err != nil {
			t.Error(err)
		}
	}
}

// networksOf are an instance's networks on the engine, also when a test is over.
func networksOf(t *testing.T, cli *client.Client, instance string) []network.Summary {
	t.Helper()
	list, err := cli.NetworkList(context.Background(),
		client.NetworkListOptions{Filters: make(client.Filters).Add("label", container.LabelInstance+"="+instance)})
	if err != nil {
		t.Error(err)
	}
	return list.Items
}

// ownName is the name of the network that a session without a project gets.
func ownName(t *testing.T, p *docker.DockerProvider, instance, session string) string {
	t.Helper()
	if isPodman(t, p) {
		return "octobot-" + instance + "-session-" + session
	}
	return "octobot-" + instance + "-sessions"
}

func isPodman(t *testing.T, p *docker.DockerProvider) bool {
	t.Helper()
	info, err := p.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.Name == "podman"
}

// start makes a running container, which the test's end removes.
func start(t *testing.T, p *docker.DockerProvider, id string, opts container.Options) {
	t.Helper()
	t.Cleanup(func() {
		if err := p.Remove(context.Background(), id); err != nil && !errors.Is(err, container.ErrContainerNotFound) {
			t.Error(err)
		}
	})
	if _, err := p.Create(t.Context(), id, opts); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

func idle() container.Options {
	return container.Options{Image: image, Cmd: []string{"sleep", "3600"}}
}

func TestHardening(t *testing.T) {
	eachEngine(t, func(t *testing.T, p *docker.DockerProvider, cli *client.Client, instance string) {
		id := instance + "-s"
		start(t, p, id, idle())
		found, err := cli.ContainerInspect(t.Context(), container.Name(id), client.ContainerInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		host := found.Container.HostConfig
		if host.Privileged || len(host.Devices) != 0 || host.PidMode == "host" || host.IpcMode == "host" ||
			host.NetworkMode == "host" {
			t.Errorf("host config %+v", host)
		}
		if host.PidsLimit == nil || *host.PidsLimit != 4096 {
			t.Errorf("pids limit %v; want 4096", host.PidsLimit)
		}
		if networks := found.Container.NetworkSettings.Networks; len(networks) != 1 ||
			networks[ownName(t, p, instance, id)] == nil {
			t.Errorf("networks %v; want the instance's own", networks)
		}
		if !found.Container.Config.OpenStdin || found.Container.Config.StdinOnce {
			t.Error("stdin is not kept open")
		}
		res, err := p.Exec(t.Context(), id, []string{"grep", "-E", "CapBnd|NoNewPrivs", "/proc/self/status"},
			container.ExecOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// Bits of CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE,
		// SYS_CHROOT, SETFCAP.
		for _, want := range []string{"CapBnd:\t00000000800404fb", "NoNewPrivs:\t1"} {
			if !strings.Contains(res.Stdout, want) {
				t.Errorf("a command's status is %q; want %q in it", res.Stdout, want)
			}
		}
	})
}

// Sessions that start at the same time share what they share.
func TestOwnNetwork(t *testing.T) {
	eachEngine(t, func(t *testing.T, p *docker.DockerProvider, cli *client.Client, instance string) {
		a, b := instance+"-a", instance+"-b"
		var both sync.WaitGroup
		for _, id := range []string{a, b} {
			both.Go(func() { start(t, p, id, idle()) })
		}
		both.Wait()
		if t.Failed() {
			return
		}
		want := 1
		if isPodman(t, p) {
			want = 2
		}
		if list := networksOf(t, cli, instance); len(list) != want {
			t.Fatalf("networks %+v; want %d", list, want)
		}

		// A network that somebody removed is made again, also for a container that is there.
		if err := p.Remove(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if err := p.Stop(t.Context(), b, 0); err != nil {
			t.Fatal(err)
		}
		if !isPodman(t, p) { // which keeps it for the stopped container
			removeNetworks(t, cli, instance)
		}
		if err := p.Start(t.Context(), b); err != nil {
			t.Errorf("start after the network was removed: %v", err)
		}
		start(t, p, a, idle())
	})
}

// TestSweepNetworks: what nothing uses goes with the next listing, and nothing else.
func TestSweepNetworks(t *testing.T) {
	eachEngine(t, func(t *testing.T, p *docker.DockerProvider, cli *client.Client, instance string) {
		name, made := "octobot-"+instance, make(map[string]string)
		ours := map[string]string{container.LabelOctobot: "true", container.LabelInstance: instance}
		others := map[string]string{container.LabelOctobot: "true", container.LabelInstance: instance + "-else"}
		for i, n := range []struct {
			name   string
			labels map[string]string
		}{
			{name, ours}, // in use
			{name + "-project-gone", ours},
			{name + "-project-else", others},
			{"foreign-" + instance, ours},
		} {
			res, err := cli.NetworkCreate(t.Context(), n.name, client.NetworkCreateOptions{
				Driver: "bridge", Labels: n.labels,
				IPAM: &network.IPAM{Config: []network.IPAMConfig{
					{Subnet: netip.MustParsePrefix(fmt.Sprintf("10.254.1.%d/28", 16*i))}}}})
			if err != nil {
				t.Fatal(err)
			}
			made[n.name] = res.ID
			t.Cleanup(func() {
				_, _ = cli.NetworkRemove(context.Background(), res.ID, client.NetworkRemoveOptions{})
			})
		}
		// A container from before, which shares the old network and does not run.
		id := instance + "-old"
		old, err := cli.ContainerCreate(t.Context(), client.ContainerCreateOptions{
			Name: container.Name(id),
			Config: &dockercontainer.Config{
				Image: image, Labels: container.Labels(instance, id, idle()), Cmd: idle().Cmd},
			HostConfig: &dockercontainer.HostConfig{NetworkMode: dockercontainer.NetworkMode(name)},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_, _ = cli.ContainerRemove(context.Background(), old.ID, client.ContainerRemoveOptions{Force: true})
		})
		there := func(name string) bool {
			_, err := cli.NetworkInspect(t.Context(), made[name], client.NetworkInspectOptions{})
			return err == nil
		}
		if _, err := p.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		awaitGone := func(name string) {
			t.Helper()
			for deadline := time.Now().Add(20 * time.Second); there(name); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("network %s stays, unused", name)
				}
			}
		}
		awaitGone(name + "-project-gone")
		if err := p.Start(t.Context(), id); err != nil {
			t.Errorf("start of a container from before: %v", err)
		}
		if err := p.Close(); err != nil { // the sweep has ended
			t.Error(err)
		}
		for _, n := range []string{name, name + "-project-else", "foreign-" + instance} {
			if !there(n) {
				t.Errorf("network %s is gone", n)
			}
		}
		// When the container is gone, so is its network, also where sessions get another one now.
		if _, err := cli.ContainerRemove(t.Context(), old.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		later := open(t, config.Config{Instance: instance,
			Docker: config.Docker{Host: p.Engine().Host, Network: "elsewhere"}})
		if _, err := later.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		awaitGone(name)
	})
}

// TestApartWhileOthersEnd: the end of a session opens nothing between those that go on.
func TestApartWhileOthersEnd(t *testing.T) {
	eachEngine(t, func(t *testing.T, p *docker.DockerProvider, cli *client.Client, instance string) {
		a, b := instance+"-a", instance+"-b"
		for id, project := range map[string]string{a: "p", b: "q"} {
			opts := idle()
			opts.Cmd, opts.ProjectID = []string{"sh", "-c", "while true; do echo hello | nc -l -p 7070; done"}, project
			start(t, p, id, opts)
		}
		addr, err := p.Exec(t.Context(), b, []string{"hostname", "-i"}, container.ExecOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ask := []string{"sh", "-c", "nc -w 2 " + strings.TrimSpace(addr.Stdout) + " 7070 </dev/null"}
		for deadline := time.Now().Add(20 * time.Second); ; {
			if res, err := p.Exec(t.Context(), b, ask, container.ExecOptions{}); err != nil {
				t.Fatal(err)
			} else if res.Stdout == "hello\n" {
				break
			} else if time.Now().After(deadline) {
				t.Fatal("nobody listens")
			}
		}
		// One that names a network of the engine's is no closer.
		beside := idle()
		beside.NetworkMode = sharedNetwork(map[bool]string{true: "podman", false: "docker"}[isPodman(t, p)])
		start(t, p, instance+"-d", beside)
		res, err := p.Exec(t.Context(), instance+"-d", ask, container.ExecOptions{})
		if err != nil || res.Stdout != "" {
			t.Errorf("from the engine's own network: %+v, %v; want no connection", res, err)
		}
		for i, end := range []func(id string) error{
			func(id string) error { return p.Stop(t.Context(), id, 0) },
			func(id string) error { return p.Remove(t.Context(), id) },
		} {
			c := fmt.Sprint(instance, "-c", i)
			start(t, p, c, idle())
			if err := end(c); err != nil {
				t.Fatal(err)
			}
			res, err := p.Exec(t.Context(), a, ask, container.ExecOptions{})
			if err != nil || res.Stdout != "" {
				t.Errorf("after a third session has ended: %+v, %v; want no connection", res, err)
			}
		}
	})
}

// TestNameOwnNetwork: no session joins another's network by naming it, or a part of its ID.
func TestNameOwnNetwork(t *testing.T) {
	eachEngine(t, func(t *testing.T, p *docker.DockerProvider, cli *client.Client, instance string) {
		id := instance + "-a"
		start(t, p, id, idle())
		list := networksOf(t, cli, instance)
		if len(list) != 1 {
			t.Fatalf("networks %+v; want one", list)
		}
		shared := sharedNetwork(map[bool]string{true: "podman", false: "docker"}[isPodman(t, p)])
		theirs, err := cli.NetworkInspect(t.Context(), shared, client.NetworkInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{
			list[0].Name, list[0].ID, list[0].ID[:12], theirs.Network.ID[:12], "octobot-none", "slirp4netns", "pasta",
		} {
			opts := idle()
			opts.NetworkMode = name
			if _, err := p.Create(t.Context(), instance+"-b", opts); !errors.Is(err, container.ErrInvalidArgument) {
				t.Errorf("network mode %q: %v; want it refused", name, err)
			}
		}
		opts := idle()
		opts.NetworkMode = shared
		start(t, p, instance+"-c", opts)
	})
}

// TestNetworkPool: a pool that is used up says so, and what it has left can be asked.
func TestNetworkPool(t *testing.T) {
	for name := range engineVariables {
		t.Run(name, func(t *testing.T) {
			host := engineHost(t, name)
			cli := engineClient(t, host)
			instance := "pool-" + name
			pool := map[string]string{"docker": "10.253.0.0/23", "podman": "10.253.4.0/28"}[name] // two subnets
			p := open(t, config.Config{Instance: instance,
				Docker: config.Docker{Host: host, NetworkPool: []string{pool}}})
			if free, total, err := p.NetworkPool(t.Context()); free != 2 || total != 2 || err != nil {
				t.Errorf("%d of %d subnets are free, %v", free, total, err)
			}
			// Somebody else has the first one.
			first := netip.MustParsePrefix(pool)
			res, err := cli.NetworkCreate(t.Context(), "taken-"+instance, client.NetworkCreateOptions{Driver: "bridge",
				IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: netip.PrefixFrom(first.Addr(), 30)}}}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_, _ = cli.NetworkRemove(context.Background(), res.ID, client.NetworkRemoveOptions{})
			})
			for i, want := range []error{nil, container.ErrLimitReached} {
				opts := idle()
				opts.ProjectID = fmt.Sprint("p", i)
				id := fmt.Sprint(instance, "-", i)
				t.Cleanup(func() { _ = p.Remove(context.Background(), id) })
				_, err := p.Create(t.Context(), id, opts)
				if !errors.Is(err, want) || want != nil && !strings.Contains(err.Error(), "network_pool") {
					t.Errorf("create %d: %v; want %v", i, err, want)
				}
			}
			if free, total, err := p.NetworkPool(t.Context()); free != 0 || total != 2 || err != nil {
				t.Errorf("%d of %d subnets are free, %v", free, total, err)
			}
		})
	}
}

// TestAnonymousVolumes removes a container of an image that declares a volume: the volume goes with
// it.
func TestAnonymousVolumes(t *testing.T) {
	eachEngine(t, func(t *testing.T, p *docker.DockerProvider, cli *client.Client, instance string) {
		const withVolume = "octobot-test:volume"
		base, err := cli.ContainerCreate(t.Context(), client.ContainerCreateOptions{
			Config: &dockercontainer.Config{Image: image, Cmd: []string{"true"}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_, err := cli.ContainerRemove(context.Background(), base.ID, client.ContainerRemoveOptions{})
			if err != nil {
				t.Error(err)
			}
		})
		_, err = cli.ContainerCommit(t.Context(), base.ID, client.ContainerCommitOptions{
			Reference: withVolume, Changes: []string{"VOLUME /data"}, Config: &dockercontainer.Config{}})
		if err != nil {
			t.Fatal(err)
		}
		opts := idle()
		opts.Image = withVolume
		id := instance + "-a"
		start(t, p, id, opts)
		info, err := cli.ContainerInspect(t.Context(), container.Name(id), client.ContainerInspectOptions{})
		if err != nil || len(info.Container.Mounts) != 1 {
			t.Fatalf("mounts %+v, %v; want the image's volume", info.Container.Mounts, err)
		}
		volume := info.Container.Mounts[0].Name
		if _, err := cli.VolumeInspect(t.Context(), volume, client.VolumeInspectOptions{}); err != nil {
			t.Fatalf("volume %q: %v", volume, err)
		}
		if err := p.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if _, err := cli.VolumeInspect(t.Context(), volume, client.VolumeInspectOptions{}); !cerrdefs.IsNotFound(err) {
			t.Errorf("volume %q after the removal: %v", volume, err)
		}
	})
}

// TestTwinNetworks leaves a second network of the instance's name behind, as a daemon that was
// killed while the engine made it does. Engines that refuse such a one have nothing to show.
func TestTwinNetworks(t *testing.T) {
	eachEngine(t, func(t *testing.T, p *docker.DockerProvider, cli *client.Client, instance string) {
		start(t, p, instance+"-a", idle())
		name := ownName(t, p, instance, instance+"-a")
		_, err := cli.NetworkCreate(t.Context(), name, client.NetworkCreateOptions{Driver: "bridge",
			Labels: map[string]string{container.LabelInstance: instance}})
		if err != nil && strings.Contains(err.Error(), "already") {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		start(t, p, instance+"-b", idle())
		list, err := cli.NetworkList(t.Context(),
			client.NetworkListOptions{Filters: make(client.Filters).Add("name", name)})
		if err != nil || len(list.Items) != 1 {
			t.Errorf("networks %+v, %v; want one", list.Items, err)
		}
	})
}

// TestPickedPortTaken: a container that has run is not made anew for a port that Podman picked, for
// that would lose its files. The error says what is in the way, and a later start finds them.
func TestPickedPortTaken(t *testing.T) {
	host := engineHost(t, "podman")
	cli := engineClient(t, host)
	p := open(t, config.Config{Instance: "picked", Docker: config.Docker{Host: host, Network: "podman"}})
	const id = "picked-a"
	start(t, p, id, idle())
	if _, err := p.Exec(t.Context(), id, []string{"touch", "/kept"}, container.ExecOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	ports := plannedPorts(t, cli, container.Name(id))
	if len(ports) != 1 {
		t.Fatalf("ports %v; want one", ports)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(ports[0]))
	for err != nil && t.Context().Err() == nil { // its holder ends a moment after the container
		l, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(ports[0]))
	}
	if err := p.Start(t.Context(), id); !errors.Is(err, container.ErrPortTaken) ||
		!strings.Contains(err.Error(), "Podman picked") {
		t.Errorf("start: %v; want that the port which Podman picked is taken", err)
	}
	l.Close()
	if err := p.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	res, err := p.Exec(t.Context(), id, []string{"ls", "/kept"}, container.ExecOptions{})
	if err != nil || res.ExitCode != 0 {
		t.Errorf("the file: %+v, %v", res, err)
	}
}

func TestNetworkOfAnother(t *testing.T) {
	host := engineHost(t, "docker")
	cli := engineClient(t, host)
	made, err := cli.NetworkCreate(t.Context(), "octobot-theirs-sessions",
		client.NetworkCreateOptions{Driver: "bridge"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := cli.NetworkRemove(context.Background(), made.ID, client.NetworkRemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
	p := open(t, config.Config{Instance: "theirs", Docker: config.Docker{Host: host}})
	if _, err := p.Create(t.Context(), "theirs-a", idle()); !errors.Is(err, container.ErrRefused) {
		t.Errorf("create: %v; want a refusal", err)
	}
}

// recorder passes requests on to an engine and notes them.
type recorder struct {
	mu    sync.Mutex
	asked []string
	host  string
}

func newRecorder(t *testing.T, host string) *recorder {
	t.Helper()
	engine := strings.TrimPrefix(host, "unix://")
	r := &recorder{}
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	r.host = "unix://" + socket
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", engine)
	}}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	proxy.Transport = transport
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		path := apiVersion.ReplaceAllString(req.URL.Path, "/")
		r.mu.Lock()
		r.asked = append(r.asked, req.Method+" "+idPart.ReplaceAllString(path, "/ID"))
		r.mu.Unlock()
		proxy.ServeHTTP(w, req)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Close()
		serving.Wait()
		transport.CloseIdleConnections()
	})
	return r
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.asked = nil }()
	return slices.Clone(r.asked)
}

func TestCallsPerOperation(t *testing.T) {
	host := engineHost(t, "docker")
	r := newRecorder(t, host)
	p := open(t, config.Config{Instance: "calls", Docker: config.Docker{Host: r.host, Network: "bridge"}})
	ctx := t.Context()
	start(t, p, "calls-warm", idle())
	if _, err := p.List(ctx); err != nil {
		t.Fatal(err)
	}
	// Which begins a sweep of unused networks, the only one for a while.
	swept := false
	eventually(t, func() bool {
		swept = swept || slices.Contains(r.take(), "GET /networks")
		return swept
	})
	step := func(what string, want []string, do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		// A command that is not over at the first look is looked at again; how often is the
		// machine's business.
		if asked := slices.Compact(r.take()); !slices.Equal(asked, want) {
			t.Errorf("%s asked %q; want %q", what, asked, want)
		}
	}
	const id = "calls-s"
	t.Cleanup(func() { _ = p.Remove(context.Background(), id) }) // where a step has failed
	step("create", []string{"POST /containers/create"},
		func() error { _, err := p.Create(ctx, id, idle()); return err })
	step("start", []string{"POST /containers/ID/start", "GET /containers/ID/json"},
		func() error { return p.Start(ctx, id) })
	step("get", []string{"GET /containers/ID/json"}, func() error { _, err := p.Get(ctx, id); return err })
	step("list", []string{"GET /containers/json"}, func() error { _, err := p.List(ctx); return err })
	step("exec", []string{"POST /containers/ID/exec", "POST /exec/ID/start", "GET /exec/ID/json"}, func() error {
		_, err := p.Exec(ctx, id, []string{"true"}, container.ExecOptions{})
		return err
	})
	step("remove", []string{"DELETE /containers/ID"}, func() error { return p.Remove(ctx, id) })
}

// A container that was made anew under the session's name, by the daemon that took over, is found.
func TestRememberedContainerIsReplaced(t *testing.T) {
	eachEngine(t, func(t *testing.T, p *docker.DockerProvider, cli *client.Client, instance string) {
		id := instance + "-s"
		start(t, p, id, idle())
		other := open(t, config.Config{Instance: instance, Docker: config.Docker{Host: p.Engine().Host}})
		if err := other.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Exec(t.Context(), id, []string{"true"},
			container.ExecOptions{}); !errors.Is(err, container.ErrContainerNotFound) {
			t.Errorf("exec after the removal: %v; want not found", err)
		}
		start(t, other, id, idle())
		if _, err := p.Exec(t.Context(), id, []string{"true"}, container.ExecOptions{}); err != nil {
			t.Errorf("exec in the new container: %v", err)
		}
	})
}

func TestKillWithoutShell(t *testing.T) {
	eachEngine(t, func(t *testing.T, p *docker.DockerProvider, cli *client.Client, instance string) {
		id := instance + "-s"
		start(t, p, id, idle())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, err := p.ExecStream(ctx, id, []string{"sh", "-c", "rm /bin/sh; echo gone; exec sleep 3600"},
			container.ExecOptions{}, cancelOnWrite(cancel), io.Discard)
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "/bin/sh") {
			t.Errorf("cancelled exec in an image without a shell: %v", err)
		}
	})
}

type cancelOnWrite context.CancelFunc

func (c cancelOnWrite) Write(b []byte) (int, error) {
	c()
	return len(b), nil
}
