package mock_test

import (
	"context"
	"net"
	"testing"

	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/containertest"
	"github.com/octobot-run/octobot/internal/container/containertest/peer"
	"github.com/octobot-run/octobot/internal/container/mock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testImage = "octobot-test:busybox"

// wrapper is a Runtime that adds nothing, and hides what it wraps to all but container.As.
type wrapper struct{ container.Runtime }

func (w wrapper) Unwrap() container.Runtime { return w.Runtime }

func TestConformance(t *testing.T) {
	conform(t, func(rt container.Runtime) container.Runtime { return rt })
}

func TestConformanceWrapped(t *testing.T) {
	conform(t, func(rt container.Runtime) container.Runtime { return wrapper{rt} })
}

func conform(t *testing.T, wrap func(container.Runtime) container.Runtime) {
	engine := mock.NewEngine()
	engine.SetImages(testImage)
	engine.Handle("peer", runPeer)
	t.Cleanup(engine.Close)
	containertest.Run(t, containertest.Harness{
		New: func(_ *testing.T, instance string) container.Runtime { return wrap(engine.Provider(instance)) },
		Dead: func(*testing.T) container.Runtime {
			dead := mock.NewEngine()
			dead.SetDown(true)
			return wrap(dead.Provider("dead"))
		},
		Foreign: func(t *testing.T, name string, labels map[string]string) {
			t.Cleanup(engine.AddForeign(name, labels))
		},
		Rename: func(t *testing.T, name, to string) {
			if !engine.Rename(name, to) {
				t.Fatalf("%s can't become %s", name, to)
			}
		},
		Planned: func(*testing.T, string) []int { return nil },
		Count:   func(_ *testing.T, labels map[string]string) int { return engine.Count(labels) },
	})
}

// runPeer is package peer on the network of a mock's container.
func runPeer(ctx context.Context, process *mock.Process) int {
	p := &peer.Peer{
		Listen: func(network, address string) (net.Listener, error) { return process.Listen(network, address) },
		Dial:   func(network, address string) (peer.Conn, error) { return process.Dial(network, address) },
		Reset:  func(c peer.Conn) { c.(container.Resetter).Reset() },
		User:   func(peer.Conn) int { return -1 },
	}
	return p.Main(process.Args[1:], process.Stdout, ctx.Done())
}
