package httpapi

import (
	"cmp"
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

// mainProcessRoutes are about the main processes of sessions.
func (a *API) mainProcessRoutes() {
	const path = "/v1/sessions/{id}"
	tags := []string{"Sessions"}
	route(a, huma.Operation{
		OperationID: "restart-session", Method: http.MethodPost, Path: path + "/restart", Tags: tags,
		Summary: "Restart a session",
		Description: "Stops it and starts it, with no other change in between. One that does not run is started. " +
			"What is interrupted in the middle is finished.",
	}, a.restartSession)
	route(a, huma.Operation{
		OperationID: "signal-session", Method: http.MethodPost, Path: path + "/signal", Tags: tags,
		Summary: "Send a session's main process a signal",
		Description: "Also while the session is being stopped. The kernel drops signals that a main process does not handle, but KILL. " +
			"A session that does not run, or is paused, is refused.",
		DefaultStatus: http.StatusNoContent,
	}, a.signalSession)
	stream(a, front.Work, huma.Operation{
		OperationID: "wait-session", Method: http.MethodPost, Path: path + "/wait", Tags: tags,
		Summary: "Wait for a session's main process to end",
		Description: "Answers how it ended, and at once of a session that is stopped. One that was never started is refused, one that is closed meanwhile too. " +
			"It does not count as use of the session.",
		Responses: map[string]*huma.Response{
			"200":     {Description: "It has ended", Content: body[v1.Exit](a, "application/json")},
			"default": {Description: "Error", Content: body[v1.Problem](a, problem.ContentType)},
		},
	}, a.waitSession)
}

func (a *API) restartSession(ctx context.Context, in *stopInput) (*sessionBody, error) {
	timeout, err := in.timeout()
	if err != nil {
		return nil, err
	}
	return a.changeSession(ctx, in.ID,
		func(ctx context.Context, who session.Principal, id string) (session.View, error) {
			return a.service.Restart(ctx, who, id, timeout)
		})
}

type signalSessionInput struct {
	ID   string `path:"id"`
	Body v1.SignalSessionRequest
}

func (a *API) signalSession(ctx context.Context, in *signalSessionInput) (*struct{}, error) {
	signal, err := container.ParseSignal(cmp.Or(in.Body.Signal, "KILL"))
	if err != nil {
		return nil, problem.New(v1.CodeInvalidArgument, "%s", err)
	}
	return nil, a.service.Signal(ctx, front.PrincipalOf(ctx), in.ID, signal)
}

func (a *API) waitSession(w *front.ResponseWriter, r *http.Request, in *sessionPath) error {
	ctx, cancel := a.streams.Until(r.Context())
	defer cancel(nil)
	exit, err := a.service.Wait(ctx, front.PrincipalOf(ctx), in.ID)
	if err != nil {
		return problem.CauseOf(ctx, err)
	}
	writeJSON(w, http.StatusOK, fromExit(&exit))
	return nil
}
