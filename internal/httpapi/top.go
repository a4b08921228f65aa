package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
)

func (a *API) topRoutes() {
	route(a, huma.Operation{
		OperationID: "get-session-top", Method: http.MethodGet, Path: "/v1/sessions/{id}/top",
		Tags:    []string{"Sessions"},
		Summary: "List all processes of a session",
		Description: "Whoever started them: the main process, commands, terminals, and Octobot's own. " +
			"It does not count as use of the session.",
	}, a.top)
}

type topOutput struct{ Body v1.Top }

func (a *API) top(ctx context.Context, in *sessionPath) (*topOutput, error) {
	top, err := a.service.Top(ctx, front.PrincipalOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &topOutput{Body: fromTop(top)}, nil
}

func fromTop(top *container.Top) v1.Top {
	out := v1.Top{HostPIDs: top.HostPIDs, Processes: make([]v1.RunningProcess, len(top.Processes))}
	for i, p := range top.Processes {
		out.Processes[i] = v1.RunningProcess{PID: p.PID, Parent: p.Parent, User: p.User,
			CPUTime: v1.Duration(p.CPUTime), Elapsed: v1.Duration(p.Elapsed), Memory: p.Memory, Cmd: p.Cmd}
	}
	return out
}
