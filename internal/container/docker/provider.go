package docker

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/keylock"
)

const (
	// settleTimeout bounds what the provider does after a caller has gone: undoing a
	// create, killing a command, hanging up a terminal.
	settleTimeout = 15 * time.Second
	// idleConns are kept open to the engine, so that a burst of calls does not
	// dial for each.
	idleConns = 64
)

// DockerProvider is a [container.Runtime] on a Docker engine, or on another that
// serves Docker's API. NewDockerProvider makes one.
type DockerProvider struct {
	client   *client.Client
	raw      *http.Client // for what the SDK's answers leave out; see wire.go
	cfg      config.Config
	instance string
	engine   Engine
	publish  netip.Addr // where ports are published

	life   context.Context // ends with Close
	end    context.CancelFunc
	mu     sync.Mutex // guards closed, ptys, and the first Add on under
	closed bool
	under  sync.WaitGroup // calls and their clean-up
	ptys   map[*pty]struct{}

	contact chan struct{} // holds one token: the right to negotiate
	known   atomic.Pointer[facts]
	noInit  atomic.Bool // the engine has no init binary

	sessions sessionIDs
	turns    keylock.Locks // of sessions, see takeTurn
	pulls    pulls
	network  ownNetwork
	proven   proven
}

var (
	_ container.Runtime      = (*DockerProvider)(nil)
	_ container.Capable      = (*DockerProvider)(nil)
	_ container.Closer       = (*DockerProvider)(nil)
	_ container.Prober       = (*DockerProvider)(nil)
	_ container.Watcher      = (*DockerProvider)(nil)
	_ container.LogReader    = (*DockerProvider)(nil)
	_ container.StreamExecer = (*DockerProvider)(nil)
	_ container.Copier       = (*DockerProvider)(nil)
	_ container.StatsReader  = (*DockerProvider)(nil)
	_ container.Pauser       = (*DockerProvider)(nil)
)

// NewDockerProvider makes a provider for the engine that cfg names, or that
// [Discover] finds. It does not call the engine: one that is down is
// [container.ErrUnavailable] at each call until it is up. cfg is copied; a zero one is valid.
// The caller closes the provider.
func NewDockerProvider(cfg *config.Config) (*DockerProvider, error) {
	engine, err := Discover(cfg.Docker.Host)
	if err != nil {
		return nil, err
	}
	publish, err := publishAddress(cfg.Docker.PublishAddress)
	if err != nil {
		return nil, container.Errorf("open", "", container.ErrInvalidArgument, "publish address: %v", err)
	}
	hc := &http.Client{
		CheckRedirect: client.CheckRedirect,
		Transport: &http.Transport{
			TLSClientConfig: engine.tls,
			// HTTP/1 alone. With HTTP/2 on offer a transport gets a TLS configuration when it is
			// copied, which the SDK takes for the wish to speak TLS.
			TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
			MaxIdleConns:        idleConns,
			MaxIdleConnsPerHost: idleConns,
			IdleConnTimeout:     90 * time.Second,
		},
	}
	cli, err := client.New(client.WithHTTPClient(hc), client.WithHost(engine.Host), client.WithAPIVersionFromEnv())
	if err != nil {
		return nil, container.Errorf("open", "", container.ErrInvalidArgument, "engine %s: %v", engine.Host, err)
	}
	p := &DockerProvider{
		client:   cli,
		raw:      rawClient(cli.Dialer()),
		cfg:      *cfg,
		instance: cfg.Instance,
		engine:   engine,
		publish:  publish,
		contact:  make(chan struct{}, 1),
		ptys:     make(map[*pty]struct{}),
	}
	if p.instance == "" {
		p.instance = "default"
	}
	p.network = ownNetwork{name: networkName(p.instance), turn: make(chan struct{}, 1)}
	p.life, p.end = context.WithCancel(context.Background())
	return p, nil
}

// Close ends the calls under way, which give [container.ErrClosed], hangs up the terminals
// that Attach made, and waits for all of them and for what they clean up.
func (p *DockerProvider) Close() error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	open := make([]*pty, 0, len(p.ptys))
	for t := range p.ptys {
		open = append(open, t)
	}
	p.mu.Unlock()
	if !first {
		p.under.Wait()
		return nil
	}
	p.end()
	var hangups sync.WaitGroup
	errs := make([]error, len(open))
	for i, t := range open {
		hangups.Go(func() { errs[i] = t.Close() })
	}
	hangups.Wait()
	p.under.Wait()
	p.raw.CloseIdleConnections()
	return errors.Join(append(errs, p.client.Close())...)
}

// Capabilities are those of the engine that answered last; before the first answer, Docker's.
func (p *DockerProvider) Capabilities() container.Capabilities {
	return container.Capabilities{
		Ports:                   true,
		KeepsFilesOnStop:        true,
		ReportsOOM:              true,
		EnforcesResources:       true,
		KillsExec:               true,
		RealProcesses:           true,
		HoldsPorts:              true,
		RemovesAnonymousVolumes: true,
	}
}

// call is one method's run.
type call struct {
	p           *DockerProvider
	op, session string
	caller      context.Context // as the caller gave it
	ctx         context.Context // ends with the caller's or with the provider
	done        func()
}

// beginCall admits a call about a session: not after Close, not with arguments that
// ValidateSessionID or check (which may be nil) refuse, not with a ctx that has ended; in all these
// cases nothing is asked of the engine. It returns when the API's version is negotiated. The caller
// calls done.
func (p *DockerProvider) beginCall(ctx context.Context, op, sessionID string, check func() error) (*call, error) {
	return p.admitCall(&call{p: p, op: op, session: sessionID, caller: ctx}, func() error {
		if err := container.ValidateSessionID(sessionID); err != nil || check == nil {
			return err
		}
		return check()
	})
}

// beginEngineCall is beginCall for a call about no one session.
func (p *DockerProvider) beginEngineCall(ctx context.Context, op string) (*call, error) {
	return p.admitCall(&call{p: p, op: op, caller: ctx}, func() error { return nil })
}

func (p *DockerProvider) admitCall(c *call, check func() error) (*call, error) {
	if !p.countCall() {
		return nil, c.toError(container.ErrClosed)
	}
	ctx, cancel := context.WithCancel(c.caller)
	stop := context.AfterFunc(p.life, cancel)
	c.ctx = ctx
	c.done = func() {
		stop()
		cancel()
		p.under.Done()
	}
	err := check()
	if err == nil {
		err = c.caller.Err()
	}
	if err == nil {
		err = p.negotiate(c.ctx)
	}
	if err != nil {
		err = c.toError(err)
		c.done()
		return nil, err
	}
	return c, nil
}

// countCall counts one more call, unless the provider is closed.
func (p *DockerProvider) countCall() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.under.Add(1)
	return true
}

// cleanupContext returns a ctx for what has to be done although the caller has gone.
func cleanupContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
}
