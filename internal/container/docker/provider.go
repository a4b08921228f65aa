package docker

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
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

	calls      *provider.Calls
	answerTime time.Duration // see answered

	contact chan struct{} // holds one token: the right to negotiate
	known   atomic.Pointer[facts]
	noInit  atomic.Bool // the engine has no init binary

	sessions sessionIDs
	turns    keylock.Locks // of sessions, see takeTurn
	starts   starts
	pulls    pulls
	networks networks
	proven   proven
	programs programs
	heart    heartbeat
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
	_ container.Updater      = (*DockerProvider)(nil)
	_ container.Topper       = (*DockerProvider)(nil)
	_ container.Signaler     = (*DockerProvider)(nil)

	_ container.HostProcesses = (*DockerProvider)(nil)
	_ container.Dialer        = (*DockerProvider)(nil)
	_ container.OriginReader  = (*DockerProvider)(nil)

	_ container.StrangerKeeper = (*DockerProvider)(nil)
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
	cli, err := client.New(client.WithHTTPClient(hc), client.WithHost(engine.Host), client.WithAPIVersionFromEnv(),
		client.WithHTTPResponseHook(wordsInJSON))
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
		programs: programs{filling: make(chan struct{}, 1)},
		starts:   starts{starting: make(map[string]int), pausing: make(map[string]int)},
		calls:    provider.NewCalls(),
		heart:    heartbeat{every: beatEvery, timeout: beatTimeout},

		answerTime: defaultAnswerTime,
	}
	p.starts.changed.L = &p.starts.mu
	if p.instance == "" {
		p.instance = "default"
	}
	pool := cfg.Docker.NetworkPool
	if len(pool) == 0 {
		pool = config.Default().Docker.NetworkPool
	}
	for _, s := range pool {
		r, err := netip.ParsePrefix(s)
		if err != nil || !r.Addr().Is4() {
			return nil, container.Errorf("open", "", container.ErrInvalidArgument,
				"network pool: %q is no IPv4 network", s)
		}
		p.networks.subnets.pool = append(p.networks.subnets.pool, r.Masked())
	}
	return p, nil
}

// Close ends the calls under way, which give [container.ErrClosed], hangs up the terminals that
// Attach made, and waits for all of them and for what they clean up.
func (p *DockerProvider) Close() error {
	err := p.calls.Close()
	p.raw.CloseIdleConnections()
	return errors.Join(err, p.client.Close())
}

// Capabilities are those of the engine that answered last; before the first answer, Docker's.
func (p *DockerProvider) Capabilities() container.Capabilities {
	known := p.known.Load()
	return container.Capabilities{
		Ports:                   true,
		KeepsFilesOnStop:        true,
		ReportsOOM:              true,
		EnforcesResources:       true,
		UpdatesResources:        known == nil || !known.podman,
		KillsExec:               true,
		RealProcesses:           true,
		HoldsPorts:              true,
		RemovesAnonymousVolumes: true,
	}
}

// call is one method's run.
type call struct {
	*provider.Call
	p *DockerProvider
}

// beginCall is [provider.Calls.Begin]. It returns when the API's version is negotiated; until then
// nothing else is asked of the engine.
func (p *DockerProvider) beginCall(ctx context.Context, op, sessionID string, check func() error) (*call, error) {
	return p.negotiated(p.calls.Begin(ctx, op, sessionID, check))
}

// beginEngineCall is beginCall for a call about no one session.
func (p *DockerProvider) beginEngineCall(ctx context.Context, op string) (*call, error) {
	return p.negotiated(p.calls.BeginEngine(ctx, op))
}

func (p *DockerProvider) negotiated(begun *provider.Call, err error) (*call, error) {
	if err != nil {
		return nil, err
	}
	c := &call{Call: begun, p: p}
	if err := p.negotiate(c.Ctx); err != nil {
		err = c.toError(err)
		c.Done()
		return nil, err
	}
	return c, nil
}

// cleanupContext returns a ctx for what has to be done although the caller has gone.
func cleanupContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
}
