package httpapi

import (
	"context"
	"errors"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

func requireAdmin(ctx context.Context) error {
	if front.PrincipalOf(ctx).Admin {
		return nil
	}
	return problem.New(v1.CodeForbidden, "that is for admins, and this token reaches one project only").
		WithHint("use the server's Unix socket or an admin's token")
}

// projectScope returns the project that a request is about, of those that the caller may reach:
// empty for all of them.
func projectScope(ctx context.Context, project string) (string, error) {
	p := front.PrincipalOf(ctx)
	if p.Admin || project == p.ProjectID {
		return project, nil
	}
	if project == "" {
		return p.ProjectID, nil
	}
	return "", problem.New(v1.CodeForbidden, "this token reaches the project %q only", p.ProjectID)
}

// checkReach checks that the caller may know of a session. One of another project does not
// exist for it, in the same words.
func (a *API) checkReach(ctx context.Context, id string) error {
	if err := container.ValidateSessionID(id); err != nil {
		return problem.New(v1.CodeInvalidArgument, "%s", err)
	}
	p := front.PrincipalOf(ctx)
	if p.Admin {
		return nil
	}
	view, err := a.service.Get(ctx, id)
	if session.CodeOf(err) == session.CodeSessionNotFound || err == nil && view.ProjectID != p.ProjectID {
		return &session.Error{Code: session.CodeSessionNotFound, Op: "get", SessionID: id,
			Detail: "there is no such session", Hint: "octobot ls shows those that there are"}
	}
	return err
}

// hideOther drops what a refused creation tells of a session that may be another project's.
func hideOther(ctx context.Context, err error) error {
	e, ok := errors.AsType[*session.Error](err)
	if !ok || e.Code != session.CodeSessionExists || front.PrincipalOf(ctx).Admin {
		return err
	}
	return &session.Error{Code: e.Code, Op: e.Op, SessionID: e.SessionID,
		Detail: "the ID is taken", Hint: "choose another ID"}
}
