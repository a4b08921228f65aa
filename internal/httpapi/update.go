package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/session"
)

func (a *API) updateRoutes() {
	route(a, huma.Operation{
		OperationID: "update-session", Method: http.MethodPatch, Path: "/v1/sessions/{id}", Tags: []string{"Sessions"},
		Summary: "Change a session",
		Description: "Its limits, when it expires, and its labels: all that is asked for or nothing, whether it runs or not, and as far as it could be created so. " +
			"Not all engines change the limits of a container that there is. It does not count as use of the session.",
	}, a.updateSession)
}

type updateInput struct {
	ID   string `path:"id"`
	Body v1.UpdateSessionRequest
}

func (a *API) updateSession(ctx context.Context, in *updateInput) (*sessionBody, error) {
	return a.changeSession(ctx, in.ID,
		func(ctx context.Context, who session.Principal, id string) (session.View, error) {
			return a.service.Update(ctx, who, id, toUpdate(in.Body))
		})
}

func toUpdate(r v1.UpdateSessionRequest) session.UpdateRequest {
	return session.UpdateRequest{
		CPUs: valueOrNil(limitOf(r.Resources.CPUs)), Memory: valueOrNil(limitOf(r.Resources.Memory)),
		PIDs:        valueOrNil(limitOf(r.Resources.PIDs)),
		IdleTimeout: valueOrNil(time.Duration(limitOf(r.IdleTimeout))),
		MaxAge:      valueOrNil(time.Duration(limitOf(r.MaxAge))),
		OnExpire:    valueOrNil(session.Expiry(r.OnExpire)), Labels: r.Labels,
	}
}
