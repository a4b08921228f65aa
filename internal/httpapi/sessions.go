package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

// sessionPath is the input of routes about one session.
type sessionPath struct {
	ID string `path:"id"`
}

type sessionBody struct {
	Body v1.Session
}

func (a *API) sessionRoutes() {
	stream(a, front.Work, huma.Operation{
		OperationID: "create-session", Method: http.MethodPost, Path: "/v1/sessions", Tags: []string{"Sessions"},
		Summary: "Create a session",
		Description: "Creates a session and, unless start is false, starts it. With Accept: text/event-stream, progress events tell " +
			"how the image's pull gets on, and the stream ends with session or error; what is refused before the first event is " +
			"answered with its own status. A client that goes away undoes the creation.",
		Responses: map[string]*huma.Response{
			"201": {Description: "Created", Content: body[v1.Session](a, "application/json")},
			"200": {Description: "A stream of events", Content: map[string]*huma.MediaType{
				eventStream: a.events(map[string]reflect.Type{
					v1.EventProgress: reflect.TypeFor[v1.Progress](), v1.EventSession: reflect.TypeFor[v1.Session](),
					v1.EventError: reflect.TypeFor[v1.Problem](),
				})}},
			"default": {Description: "Error", Content: body[v1.Problem](a, problem.ContentType)},
		},
	}, a.createSession)
	route(a, huma.Operation{
		OperationID: "list-sessions", Method: http.MethodGet, Path: "/v1/sessions", Tags: []string{"Sessions"},
		Summary: "List sessions", Description: "Newest first, page by page.",
	}, a.listSessions)
	route(a, huma.Operation{
		OperationID: "get-session", Method: http.MethodGet, Path: "/v1/sessions/{id}", Tags: []string{"Sessions"},
		Summary: "Get a session",
	}, func(ctx context.Context, in *sessionPath) (*sessionBody, error) {
		return a.changeSession(ctx, in.ID, a.service.Get)
	})
	route(a, huma.Operation{
		OperationID: "delete-session", Method: http.MethodDelete, Path: "/v1/sessions/{id}", Tags: []string{"Sessions"},
		Summary: "Close a session", Description: "Closes it and removes its container. A closed one stays so. " +
			"What is being done with it is cut short: a creation is undone, a stop becomes a kill.",
	}, a.deleteSession)
	route(a, huma.Operation{
		OperationID: "start-session", Method: http.MethodPost, Path: "/v1/sessions/{id}/start",
		Tags:    []string{"Sessions"},
		Summary: "Start a session", Description: "One that runs stays as it is; one that is paused goes on.",
	}, func(ctx context.Context, in *sessionPath) (*sessionBody, error) {
		return a.changeSession(ctx, in.ID, a.service.Start)
	})
	route(a, huma.Operation{
		OperationID: "stop-session", Method: http.MethodPost, Path: "/v1/sessions/{id}/stop",
		Tags:    []string{"Sessions"},
		Summary: "Stop a session", Description: "One that is stopped stays as it is. A stop that is under way and gives it more time is cut short.",
	}, a.stopSession)
	route(a, huma.Operation{
		OperationID: "pause-session", Method: http.MethodPost, Path: "/v1/sessions/{id}/pause",
		Tags:    []string{"Sessions"},
		Summary: "Pause a session",
		Description: "Freezes its processes; it stays running, with paused true, and refuses new commands and terminals until it is unpaused, or started. " +
			"It ages and may be stopped as any other, and is not paused after its next start. One that is paused stays as it is.",
	}, func(ctx context.Context, in *sessionPath) (*sessionBody, error) {
		return a.changeSession(ctx, in.ID, a.service.Pause)
	})
	route(a, huma.Operation{
		OperationID: "unpause-session", Method: http.MethodPost, Path: "/v1/sessions/{id}/unpause",
		Tags:    []string{"Sessions"},
		Summary: "Unpause a session", Description: "One that is not paused stays as it is.",
	}, func(ctx context.Context, in *sessionPath) (*sessionBody, error) {
		return a.changeSession(ctx, in.ID, a.service.Unpause)
	})
	route(a, huma.Operation{
		OperationID: "get-session-stats", Method: http.MethodGet, Path: "/v1/sessions/{id}/stats",
		Tags:    []string{"Sessions"},
		Summary: "Get what a session uses",
		Description: "One sample of a running session's CPU time, memory, processes, network and block I/O. " +
			"It does not count as use of the session.",
	}, a.sessionStats)
	a.eventRoutes()
}

// changeSession does what a session is asked for, and answers with the session.
func (a *API) changeSession(
	ctx context.Context, id string, do func(context.Context, session.Principal, string) (session.View, error),
) (*sessionBody, error) {
	view, err := do(ctx, front.PrincipalOf(ctx), id)
	if err != nil {
		return nil, err
	}
	return &sessionBody{Body: fromView(view)}, nil
}

type createInput struct {
	Body v1.CreateSessionRequest
}

func (a *API) createSession(w *front.ResponseWriter, r *http.Request, in *createInput) error {
	ctx := r.Context()
	req := session.CreateRequest{
		ID: in.Body.ID, ProjectID: in.Body.Project, Spec: toSpec(in.Body.Spec),
		Start: in.Body.Start == nil || *in.Body.Start,
	}
	if c := in.Body.Credentials; c != nil {
		req.Credentials = &container.Credentials{Username: c.Username, Password: c.Password}
	}
	if wantsEvents(r) {
		return a.createWithProgress(w, r, req)
	}
	view, err := a.service.Create(ctx, front.PrincipalOf(ctx), req)
	if err != nil {
		return problem.CauseOf(ctx, err)
	}
	w.Header().Set("Location", "/v1/sessions/"+view.ID)
	writeJSON(w, http.StatusCreated, fromView(view))
	return nil
}

// progressQueue is how many steps of a pull a slow client may be behind; further ones are left out.
const progressQueue = 64

func (a *API) createWithProgress(w *front.ResponseWriter, r *http.Request, req session.CreateRequest) error {
	ctx, cancel := a.streams.Until(r.Context())
	defer cancel(nil)
	events := newEventWriter(w, a.timing.keepalive)
	steps := make(chan container.PullProgress, progressQueue)
	req.Progress = func(p container.PullProgress) {
		select {
		case steps <- p:
		default:
		}
	}
	var sender sync.WaitGroup
	sender.Go(func() {
		for p := range steps {
			step := v1.Progress{Image: p.Image, Layer: p.Layer, Status: p.Status, Current: p.Current, Total: p.Total}
			if err := events.send(v1.EventProgress, step); err != nil {
				cancel(err)
			}
		}
	})
	view, err := a.service.Create(ctx, front.PrincipalOf(ctx), req)
	close(steps)
	sender.Wait()
	events.stopKeepalive()
	if err != nil {
		err = problem.CauseOf(ctx, err)
		if !events.opened() {
			return err
		}
		events.fail(a.problemOf(ctx, err))
		return nil
	}
	_ = events.send(v1.EventSession, fromView(view))
	return nil
}

type listInput struct {
	Project string   `query:"project" doc:"Only this project's."`
	Status  []string `query:"status,explode" enum:"creating,created,starting,running,stopping,stopped,failed,closing,closed,unknown" doc:"Only these; may be repeated."`
	Label   []string `query:"label,explode" doc:"Only those with this label, name=value, or name for any value; may be repeated, for those with all of them."`
	Closed  bool     `query:"closed" doc:"Closed ones as well."`
	Limit   int      `query:"limit" default:"100" minimum:"1" maximum:"1000"`
	After   string   `query:"after" doc:"The next of the page before. A page may hold fewer than limit and not be the last."`
}

// maxPage is how much of specs, their texts' bytes, goes into a page of the list.
const maxPage = 4 << 20

// sizeOf returns about how many bytes a spec takes.
func sizeOf(s session.Spec) int {
	size := len(s.Image)
	for _, texts := range [][]string{s.Cmd, s.Env, s.Binds} {
		for _, text := range texts {
			size += len(text)
		}
	}
	for _, texts := range []map[string]string{s.Labels, s.PortBindings, s.Tmpfs} {
		for name, value := range texts {
			size += len(name) + len(value)
		}
	}
	return size
}

type listOutput struct {
	Body v1.SessionList
}

func (a *API) listSessions(ctx context.Context, in *listInput) (*listOutput, error) {
	req := session.ListRequest{ProjectID: in.Project, Labels: in.Label, Closed: in.Closed, Limit: in.Limit}
	var err error
	if req.After, err = parseCursor(in.After); err != nil {
		return nil, err
	}
	for _, s := range in.Status {
		req.Statuses = append(req.Statuses, session.Status(s))
	}
	page, err := a.service.List(ctx, front.PrincipalOf(ctx), req)
	if err != nil {
		return nil, err
	}
	out := &listOutput{Body: v1.SessionList{Sessions: make([]v1.Session, 0, len(page.Sessions)),
		Next: formatCursor(page.Next)}}
	size := 0
	for i, v := range page.Sessions {
		if size += sizeOf(v.Spec); size > maxPage && i > 0 {
			last := page.Sessions[i-1]
			out.Body.Next = formatCursor(&session.Cursor{CreatedAt: last.CreatedAt, ID: last.ID})
			break
		}
		out.Body.Sessions = append(out.Body.Sessions, fromView(v))
	}
	return out, nil
}

func (a *API) deleteSession(ctx context.Context, in *sessionPath) (*struct{}, error) {
	return nil, a.service.Delete(ctx, front.PrincipalOf(ctx), in.ID)
}

type stopInput struct {
	ID      string `path:"id"`
	Timeout string `query:"timeout" doc:"How long to wait for the main process before it is killed: 30s; 0s kills at once. Absent: 10s."`
}

// timeout is negative where none is named.
func (in *stopInput) timeout() (time.Duration, error) {
	if in.Timeout == "" {
		return -1, nil
	}
	timeout, err := v1.ParseDuration(in.Timeout)
	if err != nil || timeout < 0 {
		return 0, problem.New(v1.CodeInvalidArgument, "timeout: %.64q is not a duration such as 30s or 2m", in.Timeout)
	}
	return timeout, nil
}

func (a *API) stopSession(ctx context.Context, in *stopInput) (*sessionBody, error) {
	timeout, err := in.timeout()
	if err != nil {
		return nil, err
	}
	return a.changeSession(ctx, in.ID,
		func(ctx context.Context, who session.Principal, id string) (session.View, error) {
			return a.service.Stop(ctx, who, id, timeout)
		})
}

type statsOutput struct {
	Body v1.SessionStats
}

func (a *API) sessionStats(ctx context.Context, in *sessionPath) (*statsOutput, error) {
	stats, err := a.service.Stats(ctx, front.PrincipalOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &statsOutput{Body: fromStats(in.ID, stats)}, nil
}
