package docker_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	dockercontainer "github.com/moby/moby/api/types/container"
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
	ctx := context.Background()
	list, err := cli.NetworkList(ctx,
		client.NetworkListOptions{Filters: make(client.Filters).Add("label", container.LabelInstance+"="+instance)})
	if err != nil {
		t.Error(err)
	}
	for _, n := range list.Items {
		if _, err := cli.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{}); err != nil {
			t.Error(err)
		}
	}
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
			networks["octobot-"+instance] == nil {
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
		list, err := cli.NetworkList(t.Context(),
			client.NetworkListOptions{Filters: make(client.Filters).Add("name", "octobot-"+instance)})
		if err != nil || len(list.Items) != 1 {
			t.Fatalf("networks %+v, %v; want one", list.Items, err)
		}
		info, err := p.Probe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.Name == "podman" {
			return // which can't keep containers of one network apart, as Probe's warnings say
		}
		addr, err := p.Exec(t.Context(), a, []string{"hostname", "-i"}, container.ExecOptions{})
		if err != nil {
			t.Fatal(err)
		}
		res, err := p.Exec(t.Context(), b, []string{"ping", "-c", "1", "-W", "1", strings.TrimSpace(addr.Stdout)},
			container.ExecOptions{})
		if err != nil || res.ExitCode == 0 {
			t.Errorf("ping from another session: %+v, %v; want none to arrive", res, err)
		}

		// A network that somebody removed is made again.
		for _, id := range []string{a, b} {
			if err := p.Remove(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		removeNetworks(t, cli, instance)
		start(t, p, a, idle())
	})
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
		name := "octobot-" + instance
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
	made, err := cli.NetworkCreate(t.Context(), "octobot-theirs", client.NetworkCreateOptions{Driver: "bridge"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := cli.NetworkRemove(context.Background(), made.ID, client.NetworkRemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
	p := open(t, config.Config{Instance: "theirs", Docker: config.Docker{Host: host}})
	if _, err := p.Create(t.Context(), "theirs-a", idle()); !errors.Is(err, container.ErrUnavailable) {
		t.Errorf("create: %v; want unavailable", err)
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
	r.take()
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
