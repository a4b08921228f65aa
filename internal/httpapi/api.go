// Package httpapi serves the session service over HTTP: routes, access, streams and WebSockets. The
// wire itself is described by package v1. It is a site of a front, which a request has passed when
// it comes here.
package httpapi

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

// Service is what the API serves, to whoever is found to ask: what that one may do is the service's
// to decide. Its errors are [*session.Error] values.
type Service interface {
	Sessions
	Commands
	Processes
	Terminals
	Recordings
	Files
	Ports
	Tokens
	Projects
	ReconcilePass(ctx context.Context, who session.Principal, opts session.ReconcileOptions) (session.Report, error)
	Health(ctx context.Context) session.Health
}

// Sessions is the life of sessions.
type Sessions interface {
	Create(ctx context.Context, who session.Principal, req session.CreateRequest) (session.View, error)
	Check(ctx context.Context, who session.Principal, id string) error
	Get(ctx context.Context, who session.Principal, id string) (session.View, error)
	List(ctx context.Context, who session.Principal, req session.ListRequest) (session.Page, error)
	Start(ctx context.Context, who session.Principal, id string) (session.View, error)
	Stop(ctx context.Context, who session.Principal, id string, timeout time.Duration) (session.View, error)
	Restart(ctx context.Context, who session.Principal, id string, timeout time.Duration) (session.View, error)
	Update(ctx context.Context, who session.Principal, id string, req session.UpdateRequest) (session.View, error)
	Signal(ctx context.Context, who session.Principal, id string, signal int) error
	Wait(ctx context.Context, who session.Principal, id string) (session.Exit, error)
	Pause(ctx context.Context, who session.Principal, id string) (session.View, error)
	Unpause(ctx context.Context, who session.Principal, id string) (session.View, error)
	Top(ctx context.Context, who session.Principal, id string) (*container.Top, error)
	Stats(ctx context.Context, who session.Principal, id string) (*container.Stats, error)
	Delete(ctx context.Context, who session.Principal, id string) error
	Subscribe(who session.Principal, sel session.EventSelection) (*session.Subscription, error)
}

// Commands is what runs in sessions while its caller is there.
type Commands interface {
	ExecStream(ctx context.Context, who session.Principal, id string, cmd []string,
		opts container.ExecOptions, stdout, stderr io.Writer) (int, error)
	Attach(ctx context.Context, who session.Principal, id string, opts container.AttachOptions) (container.PTY, error)
	Logs(ctx context.Context, who session.Principal, id string, opts container.LogOptions, stdout,
		stderr io.Writer) error
}

// Processes is what runs in sessions and nobody waits for.
type Processes interface {
	StartProcess(ctx context.Context, who session.Principal, id string, cmd []string,
		opts container.ProcessOptions) (container.ProcessInfo, error)
	ListProcesses(ctx context.Context, who session.Principal, id string) ([]container.ProcessInfo, error)
	SignalProcess(ctx context.Context, who session.Principal, id, processID string, signal int) error
	WaitProcess(ctx context.Context, who session.Principal, id, processID string) (container.ProcessInfo, error)
	ReadProcess(ctx context.Context, who session.Principal, id, processID string, opts container.OutputOptions,
		stdout, stderr io.Writer) (container.ProcessInfo, int64, error)
}

// Terminals are those of sessions that have names.
type Terminals interface {
	OpenTerminal(ctx context.Context, who session.Principal, id string,
		opts container.TerminalOptions) (container.Terminal, error)
	ListTerminals(ctx context.Context, who session.Principal, id string) ([]container.TerminalInfo, error)
	EndTerminal(ctx context.Context, who session.Principal, id, name string) error
}

// Ports are what programs in sessions listen on.
type Ports interface {
	DialPort(ctx context.Context, who session.Principal, id string, port int) (net.Conn, error)
	DialSocket(ctx context.Context, who session.Principal, id, path string,
		opts container.SocketOptions) (net.Conn, error)
	ListenPort(ctx context.Context, who session.Principal, id, address string, port int) (net.Listener, error)
	ListeningPorts(ctx context.Context, who session.Principal, id string) ([]container.ListeningPort, error)
}

// Recordings are what was recorded of terminals.
type Recordings interface {
	ListRecordings(ctx context.Context, who session.Principal, id string) ([]session.Recording, error)
	ReadRecording(ctx context.Context, who session.Principal, id, terminalID string) (io.ReadCloser,
		session.Recording, error)
}

// Files are those in sessions.
type Files interface {
	StatFile(ctx context.Context, who session.Principal, id, path string,
		opts container.StatFileOptions) (*container.FileInfo, error)
	ListFiles(ctx context.Context, who session.Principal, id, path, user string,
		each func(container.FileInfo) error) error
	ReadFile(ctx context.Context, who session.Principal, id, path string,
		opts container.ReadFileOptions) (*container.FileInfo, io.ReadCloser, error)
	WriteFile(ctx context.Context, who session.Principal, id, path string, r io.Reader,
		opts container.WriteFileOptions) (*container.FileInfo, error)
	MakeDirectory(ctx context.Context, who session.Principal, id, path string,
		opts container.MakeDirectoryOptions) (*container.FileInfo, error)
	MoveFile(ctx context.Context, who session.Principal, id, from, to string, opts container.MoveFileOptions) error
	RemoveFile(ctx context.Context, who session.Principal, id, path string, opts container.RemoveFileOptions) error
	ChangeFile(ctx context.Context, who session.Principal, id, path string,
		opts container.ChangeFileOptions) (*container.FileInfo, error)
	WatchFiles(ctx context.Context, who session.Principal, id, path string, opts container.WatchFilesOptions,
		each func(container.FileEvent) error) error
	SearchFiles(ctx context.Context, who session.Principal, id, dir string, opts container.SearchFilesOptions,
		each func(container.FileMatch) error) (incomplete string, err error)
	PackFiles(ctx context.Context, who session.Principal, id, path, user string) (io.ReadCloser, error)
	UnpackFiles(ctx context.Context, who session.Principal, id, dir string, r io.Reader,
		opts container.UnpackFilesOptions) error
}

// Tokens is who may call.
type Tokens interface {
	CreateToken(ctx context.Context, who session.Principal, name, projectID string,
		ttl time.Duration) (session.Token, string, error)
	ListTokens(ctx context.Context, who session.Principal) ([]session.Token, error)
	DeleteToken(ctx context.Context, who session.Principal, name string) error
}

// Projects is what projects may have.
type Projects interface {
	SetProject(ctx context.Context, who session.Principal, p session.Project) (session.ProjectView, error)
	DeleteProject(ctx context.Context, who session.Principal, id string) error
	ListProjects(ctx context.Context, who session.Principal) ([]session.ProjectView, error)
}

// Config says what the API tells of its server. The zero value of every field is valid.
type Config struct {
	Version      string // of the program
	Instance     string // of the installation
	Capabilities container.Capabilities

	// Diagnose looks at what the server needs; nil: it can't tell.
	Diagnose func(context.Context) []v1.Finding

	MaxExecTime time.Duration // of a command; zero: none
	// SpoolDir is where long output of commands is kept until they have ended; empty: the system's
	// directory for temporary files, which may be in memory.
	SpoolDir string
	Logger   *slog.Logger // nil: slog.Default()
	Metrics  http.Handler // serves /metrics; nil: there is none
}

// API is the HTTP API over a service, a [front.Site]. Make one with [New].
type API struct {
	service Service
	cfg     Config
	log     *slog.Logger
	mux     *http.ServeMux
	huma    huma.API
	openapi []byte
	streams *front.Streams
	maxBody int64
	spools  spools
	uploads map[string]bool // routes whose bodies are read as they come; complete when New returns
	doors   doors
	timing  timing
}

// timing is a field for the tests' sake.
type timing struct {
	keepalive time.Duration // between signs of life on a quiet stream
	write     time.Duration // how long a terminal's viewer may leave output unread
	start     time.Duration // how long a WebSocket may take to say what it wants
}

// New makes the API and mounts it at f, for all paths.
func New(service Service, f *front.Front, cfg Config) *API {
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	a := &API{
		service: service, cfg: cfg, log: cfg.Logger,
		mux:     http.NewServeMux(),
		streams: f.Streams(), maxBody: f.MaxBody(), spools: spools{dir: cfg.SpoolDir},
		uploads: map[string]bool{},
		timing:  timing{keepalive: 15 * time.Second, write: f.WriteTimeout(), start: 10 * time.Second},
	}
	a.huma = humago.New(a.mux, a.description())
	a.huma.UseMiddleware(shapeRefusals)
	a.routes()
	a.openapi = mustMarshal(a.huma.OpenAPI())
	f.Mount("/", a)
	return a
}

// OpenAPI returns the description of the API in OpenAPI 3.1, as JSON.
func (a *API) OpenAPI() []byte { return a.openapi }

// public paths tell nothing that is worth a token.
var public = map[string]bool{"/healthz": true, "/readyz": true, "/openapi.json": true}

// Public implements [front.Site].
func (a *API) Public(r *http.Request) bool { return public[r.URL.Path] }

// Route implements [front.Site].
func (a *API) Route(r *http.Request) (handler http.Handler, name string, err error) {
	refused, pattern := a.mux.Handler(r)
	if pattern == "" {
		return nil, "", noRoute(refused, r)
	}
	return a.mux, pattern, nil
}

// noRoute says why the router has nothing for a request; refused is the router's answer.
func noRoute(refused http.Handler, r *http.Request) *problem.Problem {
	answer := discard{header: http.Header{}}
	refused.ServeHTTP(&answer, r)
	if allow := answer.header.Get("Allow"); allow != "" {
		return problem.New(v1.CodeMethodNotAllowed, "%s is not for this path; %s is", r.Method, allow).
			WithHeader("Allow", allow)
	}
	return problem.New(v1.CodeNotFound, "there is nothing at this path").
		WithHint("GET /openapi.json lists what there is")
}

// discard keeps an answer's headers.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// Refuse implements [front.Site].
func (a *API) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	problem.Write(w, a.problemOf(r.Context(), err))
}

func (a *API) problemOf(ctx context.Context, err error) *problem.Problem {
	return problem.Of(ctx, a.log, err)
}
