package docker_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/agentbin"
	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/agented"
	"github.com/octobot-run/octobot/internal/container/containertest"
	"github.com/octobot-run/octobot/internal/container/docker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var image = cmp.Or(os.Getenv("OCTOBOT_TEST_IMAGE"), "octobot-test:busybox")

// engineVariables name the real engines that tests run against.
var engineVariables = map[string]string{
	"docker": "OCTOBOT_TEST_DOCKER_HOST",
	"podman": "OCTOBOT_TEST_PODMAN_HOST",
}

func engineHost(t *testing.T, name string) string {
	t.Helper()
	host := os.Getenv(engineVariables[name])
	if host == "" {
		t.Skipf("%s is not set: it names the %s engine to test against, as in unix:///var/run/docker.sock",
			engineVariables[name], name)
	}
	return host
}

func open(t *testing.T, cfg config.Config) *docker.DockerProvider {
	t.Helper()
	p, err := docker.NewDockerProvider(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

// engineClient speaks to the engine past the provider.
func engineClient(t *testing.T, host string) *client.Client {
	t.Helper()
	cli, err := client.New(client.WithHost(host))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}

func TestDocker(t *testing.T) { conformance(t, "docker", plain, nil, nil) }

func TestPodman(t *testing.T) {
	faults := maps.Clone(podmanFaults)
	faults["exec/stdin left unread"] = "Podman 4.3 stops reading a command's output where the input is left unread, " +
		"which is told as an error then"
	faults["attach/close unblocks a write"] = "Podman 4.3's conmon waits where a terminal takes no more, " +
		"and sees neither the end of its input nor that of the process then"
	conformance(t, "podman", plain, nil, faults)
}

func TestAgentedDocker(t *testing.T) {
	conformance(t, "docker", withAgent, agentTopics("processes", "dialing"), nil)
}

func TestAgentedPodman(t *testing.T) {
	conformance(t, "podman", withAgent, agentTopics(), podmanFaults)
}

// agentTopics are those of what the agent's wrapper does itself. With OCTOBOT_TEST_WHOLE, as in
// make soak, all are run.
func agentTopics(more ...string) []string {
	if os.Getenv("OCTOBOT_TEST_WHOLE") != "" {
		return nil
	}
	return append(more, "lifecycle", "arguments", "cancel", "options", "exit", "exec", "stream", "attach",
		"terminals", "pause", "top", "faults", "filesystem", "archives",
		"filewatch", "filesearch")
}

var podmanFaults = map[string]string{
	"exit/out of memory":        "Podman 4.3 learns of an OOM kill from cgroup v2 alone: on v1 its state says false",
	"files/modes and owners":    "Podman 4.3 gives what its Docker API unpacks to the container's user",
	"logs/since and timestamps": "Podman 4.3's API tells times in whole seconds",
	"logs/timestamps of a TTY":  "Podman 4.3 puts a time before each piece of a TTY's line, and tells the pieces apart by nothing",
}

func plain(p *docker.DockerProvider) container.Runtime { return p }

func withAgent(p *docker.DockerProvider) container.Runtime {
	return agented.New(p, agented.Config{Binary: agentbin.Binary, Logger: slog.New(slog.DiscardHandler)})
}

func conformance(
	t *testing.T, engine string, wrap func(*docker.DockerProvider) container.Runtime, topics []string,
	excused map[string]string,
) {
	host := engineHost(t, engine)
	cli := engineClient(t, host)
	containertest.Run(t, containertest.Harness{
		Image: image,
		New: func(t *testing.T, instance string) container.Runtime {
			// One network for all: each case is an instance of its own, and Docker takes its time
			// to make a network.
			return wrap(open(t, config.Config{Instance: instance,
				Docker: config.Docker{Host: host, Network: sharedNetwork(engine)}}))
		},
		Isolated: func(t *testing.T, instance string) container.Runtime {
			return wrap(open(t, config.Config{Instance: instance, Docker: config.Docker{Host: host}}))
		},
		Networks: func(t *testing.T, instance string) int { return len(networksOf(t, cli, instance)) },
		Dead: func(t *testing.T) container.Runtime {
			return wrap(open(t, config.Config{Docker: config.Docker{Host: "unix://" +
				filepath.Join(t.TempDir(), "nobody.sock")}}))
		},
		Foreign: func(t *testing.T, name string, labels map[string]string) {
			made, err := cli.ContainerCreate(t.Context(), client.ContainerCreateOptions{
				Name:   name,
				Config: &dockercontainer.Config{Image: image, Cmd: []string{"sleep", "3600"}, Labels: labels},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if _, err := cli.ContainerRemove(context.Background(), made.ID,
					client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
					t.Error(err)
				}
			})
		},
		Rename: func(t *testing.T, name, to string) {
			if _, err := cli.ContainerRename(t.Context(), name,
				client.ContainerRenameOptions{NewName: to}); err != nil {
				t.Fatal(err)
			}
		},
		Count: func(t *testing.T, labels map[string]string) int {
			filters := make(client.Filters)
			for k, v := range labels {
				filters.Add("label", k+"="+v)
			}
			// Not t.Context: it is asked while tests end, too.
			list, err := cli.ContainerList(context.Background(),
				client.ContainerListOptions{All: true, Filters: filters})
			if err != nil {
				t.Fatal(err)
			}
			return len(list.Items)
		},
		Peer:    peerProgram,
		Planned: func(t *testing.T, name string) []int { return plannedPorts(t, cli, name) },
		Topics:  topics,
		Excused: excused,
	})
}

// plannedPorts are the host's ports that the engine has written down for a container.
func plannedPorts(t *testing.T, cli *client.Client, name string) []int {
	t.Helper()
	found, err := cli.ContainerInspect(t.Context(), name, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var ports []int
	for _, bindings := range found.Container.HostConfig.PortBindings {
		for _, b := range bindings {
			if port, err := strconv.Atoi(b.HostPort); err == nil && port != 0 {
				ports = append(ports, port)
			}
		}
	}
	return ports
}

// sharedNetwork is the engine's default bridge.
func sharedNetwork(engine string) string {
	if engine == "podman" {
		return "podman"
	}
	return "bridge"
}

// peerProgram builds package peer for containers, once.
func peerProgram(t *testing.T) []byte {
	t.Helper()
	program, err := buildPeer()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

var buildPeer = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "octobot-peer-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-o", dir+"/peer",
		"github.com/octobot-run/octobot/internal/container/containertest/peer/cmd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the peer: %w: %s", err, out)
	}
	return os.ReadFile(dir + "/peer")
})
