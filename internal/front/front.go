// Package front is what every HTTP request passes before it reaches an API: time limits, the checks
// of host, origin, path and size, and who it is. It counts what takes long, and ends it.
//
// What is served is a [Site], and there may be several: each has its own routes, says what needs no
// token, and answers in its own form what is refused on the way to it.
package front

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/octobot-run/octobot/internal/session"
)

// Site is something that is served: an API, a console.
type Site interface {
	// Route returns what answers a request, and the name of its route for logs and metrics, such as
	// "GET /v1/info". Without a route there is an error, which goes to Refuse.
	Route(r *http.Request) (handler http.Handler, name string, err error)
	// Public reports whether anybody may have what a request asks for, without a token.
	Public(r *http.Request) bool
	// Refuse answers a request with an error, in the site's own form. It is a [*problem.Problem], a
	// [*session.Error], or any other, which is for the log only.
	Refuse(w http.ResponseWriter, r *http.Request, err error)
}

// Uploader is a site that takes bodies which are not held, and so may be of any size and take any
// time: their handlers read them as they come.
type Uploader interface {
	// Uploads reports whether a request's body is such a one.
	Uploads(r *http.Request) bool
}

// Authenticator knows the tokens.
type Authenticator interface {
	// Authenticate returns the token whose secret that is. Its errors are [*session.Error] values.
	Authenticate(ctx context.Context, secret string) (session.Token, error)
	// WhileValid returns a ctx that ends with parent, and when the token is deleted or expires,
	// with an error as its cause that says so. The caller calls release once it needs ctx no
	// longer.
	WhileValid(parent context.Context, t session.Token) (ctx context.Context, release func(), err error)
	// MaxStreams returns how many streams of each kind a project may have open; 0: the front's own
	// bound.
	MaxStreams(ctx context.Context, projectID string) (int, error)
	// AuditRefusal records that somebody was not let in.
	AuditRefusal(ctx context.Context, who session.Principal, err error)
}

// Config says what passes a front. The zero value of every field is valid.
type Config struct {
	MaxBody int64 // bytes of a request's body; zero: 8 MiB
	// AllowedHosts are names, without a port, under which the sites are reached beside the
	// loopback's, and which browsers' requests may come from.
	AllowedHosts []string

	// MaxStreams is how many streams of each kind one project may have open; zero: 256.
	MaxStreams int
	// MaxConnections is how many connections a server of strangers keeps; zero: 4096, or half of
	// the file descriptors that the process may have, if that is less.
	MaxConnections int

	WriteTimeout time.Duration // how long a client may leave an answer unread; zero: 30 s
	BodyTimeout  time.Duration // how long a request's body may take to arrive; zero: 30 s

	Logger   *slog.Logger          // nil: slog.Default()
	Register prometheus.Registerer // gets the front's metrics; nil: they are not collected
	Tracer   trace.TracerProvider  // nil: requests are not traced
}

// Limits that are not worth a setting.
const (
	defaultMaxBody    = 8 << 20
	defaultTimeout    = 30 * time.Second
	maxHeader         = 128 << 10 // bytes of a request's line and headers
	maxStreams        = 1024      // of each kind at once
	defaultMaxStreams = 256       // of those, one project's
	maxConnections    = 4096
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
)

// Front serves sites. Make one with [New] and mount them before it serves.
type Front struct {
	auth    Authenticator
	cfg     Config
	log     *slog.Logger
	mounts  []mount // the longest prefix first
	metrics *metrics
	streams *Streams
	bodies  bodies
}

// maxFiles returns how many file descriptors the process may have. Go raises that to the hard
// limit.
func maxFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<20 {
		return 1 << 20
	}
	return int(limit.Cur)
}

type mount struct {
	prefix string
	site   Site
}

// New makes a front that knows callers by auth. Shutdown ends what it has under way.
func New(auth Authenticator, cfg Config) *Front {
	cfg.MaxBody = cmp.Or(cfg.MaxBody, defaultMaxBody)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, defaultTimeout)
	cfg.BodyTimeout = cmp.Or(cfg.BodyTimeout, defaultTimeout)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	cfg.MaxStreams = cmp.Or(cfg.MaxStreams, defaultMaxStreams)
	files := maxFiles()
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, min(maxConnections, files/2))
	// A stream takes about two: its client's, and the engine's. A connection to a port takes the
	// first alone, and all of them leave room for as many others.
	f := &Front{auth: auth, cfg: cfg, log: cfg.Logger,
		streams: newStreams(auth, min(maxStreams, files/8), cfg.MaxStreams, max(1, cfg.MaxConnections/2))}
	f.metrics = newMetrics(cfg.Register, f.streams.Count)
	return f
}

// Mount has a site serve the paths that begin with prefix, unless a longer prefix fits; "/" fits
// all of them, and one site has to have it.
func (f *Front) Mount(prefix string, site Site) {
	f.mounts = append(f.mounts, mount{prefix, site})
	slices.SortStableFunc(f.mounts, func(a, b mount) int { return len(b.prefix) - len(a.prefix) })
}

func (f *Front) siteOf(r *http.Request) Site {
	i := slices.IndexFunc(f.mounts, func(m mount) bool { return strings.HasPrefix(r.URL.Path, m.prefix) })
	if i < 0 {
		return f.mounts[len(f.mounts)-1].site // "*" and other paths that do not begin with a slash
	}
	return f.mounts[i].site
}

// Streams is where sites count what takes long.
func (f *Front) Streams() *Streams { return f.streams }

// MaxBody is how many bytes a request's body may have.
func (f *Front) MaxBody() int64 { return f.cfg.MaxBody }

// WriteTimeout is how long a client may leave an answer unread.
func (f *Front) WriteTimeout() time.Duration { return f.cfg.WriteTimeout }

// Handler serves the sites. On a trusted listener, the Unix socket that only its owner can open,
// every request is an admin's; elsewhere it needs a token, and Host and Origin are checked.
func (f *Front) Handler(trusted bool) http.Handler {
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(w, r, trusted) })
	if f.cfg.Tracer != nil {
		h = otelhttp.NewHandler(h, "octobot", otelhttp.WithTracerProvider(f.cfg.Tracer))
	}
	return h
}

// Server returns an HTTP server for [Front.Handler] with the limits that keep slow, huge and many
// requests from weighing on it. The caller serves with it, on one listener, and shuts it down.
func (f *Front) Server(trusted bool) *http.Server {
	server, _ := f.server(trusted)
	return server
}

func (f *Front) server(trusted bool) (*http.Server, *connections) {
	server := &http.Server{
		Handler:           f.Handler(trusted),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		// Above maxHeader, so that it is we who refuse, unless it is far too much.
		MaxHeaderBytes: 2 * maxHeader,
		ErrorLog:       slog.NewLogLogger(f.log.Handler(), slog.LevelDebug),
	}
	if trusted {
		return server, nil
	}
	bound := &connections{most: f.cfg.MaxConnections, strangers: max(1, f.cfg.MaxConnections/4)}
	bound.watch(server)
	return server, bound
}

// Shutdown ends terminals, streamed commands, logs and event streams, telling their clients why,
// and waits for them and for commands that are not streamed until ctx ends. New ones are refused
// from then on. It goes before http.Server.Shutdown, which waits for the other requests and knows
// nothing of WebSockets.
func (f *Front) Shutdown(ctx context.Context) error { return f.streams.shutdown(ctx) }
