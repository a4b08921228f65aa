package systemtest

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// testImage is the busybox userland that the test scripts put on every engine.
func testImage() string {
	if image := os.Getenv("OCTOBOT_TEST_IMAGE"); image != "" {
		return image
	}
	return "octobot-test:busybox"
}

// sharedEngine returns the address of the engine that the test scripts started, and a client of our
// own to it: what these tests claim about the engine is asked of the engine, never of Octobot.
func sharedEngine(t *testing.T) (string, *client.Client) {
	t.Helper()
	host := os.Getenv("OCTOBOT_TEST_DOCKER_HOST")
	if host == "" {
		t.Skip("OCTOBOT_TEST_DOCKER_HOST is not set; run make test")
	}
	return host, engineClient(t, host)
}

func engineClient(t *testing.T, host string) *client.Client {
	t.Helper()
	c, err := client.New(client.WithHost(host))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// dockerd is an engine of one test's own, to be killed and started again.
type dockerd struct {
	t     *testing.T
	dir   string
	args  []string // further flags
	netns string
	cmd   *exec.Cmd
	done  chan struct{}
}

func (d *dockerd) host() string { return "unix://" + filepath.Join(d.dir, "docker.sock") }

// newDockerd starts a private dockerd, and loads the test image. It has a network namespace of its
// own: a dockerd that starts makes the firewall's chains anew, and takes the bridge of another one
// that is there away.
func newDockerd(t *testing.T, args ...string) *dockerd {
	t.Helper()
	_, engine := sharedEngine(t)
	dir, err := os.MkdirTemp("", "octobot-dockerd-")
	if err != nil {
		t.Fatal(err)
	}
	d := &dockerd{t: t, dir: dir, args: args, netns: filepath.Base(dir)}
	run(t, "ip", "netns", "add", d.netns)
	run(t, "ip", "-n", d.netns, "link", "set", "lo", "up")
	t.Cleanup(func() {
		if log, err := os.ReadFile(filepath.Join(dir, "log")); err == nil && t.Failed() {
			t.Logf("log of dockerd:\n%s", tail(log, 8<<10))
		}
		d.removeContainers()
		d.stop()
		run(t, "ip", "netns", "delete", d.netns)
		unmountBelow(dir)
		os.RemoveAll(dir)
	})
	d.start()
	saved, err := engine.ImageSave(t.Context(), []string{testImage()})
	if err != nil {
		t.Fatalf("save the test image: %v", err)
	}
	defer saved.Close()
	loaded, err := engineClient(t, d.host()).ImageLoad(t.Context(), saved)
	if err != nil {
		t.Fatalf("load the test image: %v", err)
	}
	defer loaded.Close()
	if _, err := io.Copy(io.Discard, loaded); err != nil {
		t.Fatalf("load the test image: %v", err)
	}
	return d
}

func (d *dockerd) start() {
	d.t.Helper()
	log, err := os.OpenFile(filepath.Join(d.dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	// Not by ip netns exec, which gives it a mount namespace too: mounts outlive an engine.
	d.cmd = exec.Command("nsenter", "--net=/run/netns/"+d.netns, "dockerd", "--data-root",
		filepath.Join(d.dir, "data"), "--exec-root", filepath.Join(d.dir, "exec"),
		"--host", d.host(), "--pidfile", filepath.Join(d.dir, "pid"), "--cgroup-parent",
		cmp.Or(os.Getenv("OCTOBOT_TEST_CGROUP"), "docker"))
	d.cmd.Args = append(d.cmd.Args, d.args...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { _ = cmd.Wait(); close(done) }(d.cmd, d.done)
	c := engineClient(d.t, d.host())
	eventually(d.t, 60*time.Second, "dockerd answers", func(ctx context.Context) error {
		_, err := c.Ping(ctx, client.PingOptions{})
		return err
	})
}

// kill ends dockerd, and the containerd that it started, as a crash does.
func (d *dockerd) kill() {
	d.t.Helper()
	_ = d.cmd.Process.Signal(syscall.SIGKILL)
	<-d.done
	containerd := filepath.Join(d.dir, "exec/containerd/containerd.pid")
	if pid, err := os.ReadFile(containerd); err == nil {
		_ = exec.Command("kill", "-9", strings.TrimSpace(string(pid))).Run()
	}
	// Both take a PID file for a living process while nobody has reaped the dead one.
	_ = os.Remove(containerd)
	_ = os.Remove(filepath.Join(d.dir, "pid"))
}

func (d *dockerd) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(30 * time.Second):
		d.kill()
	}
}

func (d *dockerd) removeContainers() {
	c := engineClient(d.t, d.host())
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	list, err := c.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return
	}
	for _, item := range list.Items {
		_, _ = c.ContainerRemove(ctx, item.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	}
}

// unmountBelow lets go of what a killed engine left mounted.
func unmountBelow(dir string) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir) {
			_ = syscall.Unmount(fields[1], syscall.MNT_DETACH)
		}
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// eventually waits until f gives nil, and fails the test with its last error otherwise.
func eventually(t *testing.T, within time.Duration, what string, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), within)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(fmt.Errorf("waited %v until %s: %w", within, what, err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
