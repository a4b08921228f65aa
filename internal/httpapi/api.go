// Package httpapi serves the session service over HTTP: routes, access, errors,
// streams and WebSockets. The wire itself is described by package v1.
//
// A request passes, in this order: its time limits, the checks of host, origin, path and size,
// authentication, the router, and the handler of its route. Everything that is refused,
// wherever, is answered as a problem (problem.go has the only table of statuses).
package httpapi

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/session"
)

// Service is what the API serves. Its errors are [*session.Error] values.
type Service interface {
	Sessions
	Processes
	Tokens
	ReconcilePass(ctx context.Context, opts session.ReconcileOptions) (session.Report, error)
	Health(ctx context.Context) session.Health
}

// Sessions is the life of sessions.
type Sessions interface {
	Create(ctx context.Context, req session.CreateRequest) (session.View, error)
	Get(ctx context.Context, id string) (session.View, error)
	List(ctx context.Context, req session.ListRequest) (session.Page, error)
	Start(ctx context.Context, id string) (session.View, error)
	Stop(ctx context.Context, id string, timeout time.Duration) (session.View, error)
	Pause(ctx context.Context, id string) (session.View, error)
	Unpause(ctx context.Context, id string) (session.View, error)
	Stats(ctx context.Context, id string) (*container.Stats, error)
	Delete(ctx context.Context, id string) error
	Subscribe(projectID string) *session.Subscription
}

// Processes is what runs in sessions.
type Processes interface {
	Exec(ctx context.Context, id string, cmd []string, opts container.ExecOptions) (*container.ExecResult, error)
	ExecStream(ctx context.Context, id string, cmd []string, opts container.ExecOptions, stdout, stderr io.Writer) (int,
		error)
	Attach(ctx context.Context, id string, opts container.AttachOptions) (container.PTY, error)
	Logs(ctx context.Context, id string, opts container.LogOptions, stdout, stderr io.Writer) error
}

// Tokens is who may call.
type Tokens interface {
	CreateToken(ctx context.Context, name, projectID string, ttl time.Duration) (session.Token, string, error)
	Authenticate(ctx context.Context, secret string) (session.Token, error)
	ListTokens(ctx context.Context) ([]session.Token, error)
	DeleteToken(ctx context.Context, name string) error
}

// Config says how an API is served. The zero value of every field is valid.
type Config struct {
	Version      string // of the program
	Instance     string // of the installation
	Capabilities container.Capabilities

	MaxBody     int64         // bytes of a request's body; zero: 8 MiB
	MaxExecTime time.Duration // of a command; zero: none
	// AllowedHosts are names, without a port, under which the API is reached beside the
	// loopback's, and which browsers' requests may come from.
	AllowedHosts []string

	Logger   *slog.Logger          // nil: slog.Default()
	Metrics  http.Handler          // serves /metrics; nil: there is none
	Register prometheus.Registerer // gets the API's own metrics; nil: they are not collected
	Tracer   trace.TracerProvider  // nil: requests are not traced
}

// Limits that are not worth a setting.
const (
	defaultMaxBody    = 8 << 20
	maxHeader         = 128 << 10 // bytes of a request's line and headers
	maxStreams        = 1024      // commands, terminals, logs and event streams at once
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
)

// API is the HTTP API over a service. Make one with [New].
type API struct {
	service Service
	cfg     Config
	log     *slog.Logger
	mux     *http.ServeMux
	huma    huma.API
	openapi []byte
	metrics *metrics
	streams *streams
	timing  timing
}

// timing is a field for the tests' sake.
type timing struct {
	keepalive time.Duration // between signs of life on a quiet stream
	write     time.Duration // how long a client may leave an answer unread
	start     time.Duration // how long a WebSocket may take to say what it wants
	body      time.Duration // how long a request's body may take to arrive
}

// New makes the API. Shutdown ends what it has under way.
func New(service Service, cfg Config) *API {
	if cfg.MaxBody == 0 {
		cfg.MaxBody = defaultMaxBody
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	a := &API{
		service: service, cfg: cfg, log: cfg.Logger,
		mux:     http.NewServeMux(),
		streams: newStreams(),
		timing: timing{keepalive: 15 * time.Second, write: 30 * time.Second, start: 10 * time.Second,
			body: 30 * time.Second},
	}
	a.metrics = newMetrics(cfg.Register, a.streams.count)
	a.huma = humago.New(a.mux, description())
	a.routes()
	a.openapi = mustMarshal(a.huma.OpenAPI())
	return a
}

// OpenAPI returns the description of the API in OpenAPI 3.1, as JSON.
func (a *API) OpenAPI() []byte { return a.openapi }

// Handler serves the API. On a trusted listener, the Unix socket that only its owner can
// open, every request is an admin's; elsewhere it needs a token, and Host and
// Origin are checked.
func (a *API) Handler(trusted bool) http.Handler {
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, trusted) })
	if a.cfg.Tracer != nil {
		h = otelhttp.NewHandler(h, "octobot", otelhttp.WithTracerProvider(a.cfg.Tracer))
	}
	return h
}

// Server returns an HTTP server for [API.Handler] with the limits that keep slow and
// huge requests from weighing on it. The caller serves with it and shuts it down.
func (a *API) Server(trusted bool) *http.Server {
	return &http.Server{
		Handler:           a.Handler(trusted),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		// Above maxHeader, so that it is we who refuse, unless it is far too much.
		MaxHeaderBytes: 2 * maxHeader,
		ErrorLog:       slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
}

// Shutdown ends terminals, streamed commands, logs and event streams, telling their clients why,
// and waits for them and for commands that are not streamed until ctx ends. New ones are refused
// from then on. It goes before http.Server.Shutdown, which waits for the other requests and knows
// nothing of WebSockets.
func (a *API) Shutdown(ctx context.Context) error { return a.streams.shutdown(ctx) }
