package docker

import (
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
)

// Who comes while the last waiter leaves either keeps that pull from its end or begins another. The
// engine takes connections and says nothing, so that no pull ends by itself.
func TestPullOutlivesLastWaiter(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "engine.sock")
	silent, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p, err := NewDockerProvider(&config.Config{Docker: config.Docker{Host: "unix://" + socket}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	key := pullKey{image: "missing:latest", anonymous: true}
	for range 50 {
		impatient, newcomer := make(chan container.PullProgress), make(chan container.PullProgress)
		shared := p.joinPull(key, impatient)
		var joined *pull
		var both sync.WaitGroup
		p.pulls.mu.Lock()
		both.Go(func() { p.leavePull(key, shared, impatient) })
		both.Go(func() { joined = p.joinPull(key, newcomer) })
		time.Sleep(3 * time.Millisecond) // by then a mutex goes to who has waited, in turn
		p.pulls.mu.Unlock()
		both.Wait()
		p.pulls.mu.Lock()
		kept := p.pulls.current[key] == joined
		p.pulls.mu.Unlock()
		p.leavePull(key, joined, newcomer)
		if !kept {
			t.Fatal("the newcomer's pull was cancelled")
		}
	}
}
