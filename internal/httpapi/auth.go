package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/session"
)

// principal is who makes a request.
type principal struct {
	name    string
	admin   bool
	project string // the one it reaches, unless it is an admin
}

type principalKey struct{}

func principalOf(ctx context.Context) principal {
	p, _ := ctx.Value(principalKey{}).(principal)
	return p
}

// open paths tell nothing that is worth a token.
var openPaths = map[string]bool{"/healthz": true, "/readyz": true, "/openapi.json": true}

func (a *API) authenticate(r *http.Request) (principal, error) {
	if openPaths[r.URL.Path] {
		return principal{}, nil
	}
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if secret = strings.TrimSpace(secret); !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return principal{}, newProblem(v1.CodeUnauthenticated, "the request has no bearer token").
			hint("octobot token create makes one; send it as Authorization: Bearer octo_…")
	}
	token, err := a.service.Authenticate(r.Context(), secret)
	if err != nil {
		return principal{}, err
	}
	return principal{name: token.Name, admin: token.ProjectID == "", project: token.ProjectID}, nil
}

func requireAdmin(ctx context.Context) error {
	if principalOf(ctx).admin {
		return nil
	}
	return newProblem(v1.CodeForbidden, "that is for admins, and this token reaches one project only").
		hint("use the server's Unix socket or an admin's token")
}

// projectScope returns the project that a request is about, of those that the caller may reach:
// empty for all of them.
func projectScope(ctx context.Context, project string) (string, error) {
	p := principalOf(ctx)
	if p.admin || project == p.project {
		return project, nil
	}
	if project == "" {
		return p.project, nil
	}
	return "", newProblem(v1.CodeForbidden, "this token reaches the project %q only", p.project)
}

// checkReach checks that the caller may know of a session. One of another project does not
// exist for it, in the same words.
func (a *API) checkReach(ctx context.Context, id string) error {
	if err := container.ValidateSessionID(id); err != nil {
		return newProblem(v1.CodeInvalidArgument, "%s", err)
	}
	p := principalOf(ctx)
	if p.admin {
		return nil
	}
	view, err := a.service.Get(ctx, id)
	if session.CodeOf(err) == session.CodeSessionNotFound || err == nil && view.ProjectID != p.project {
		return &session.Error{Code: session.CodeSessionNotFound, Op: "get", SessionID: id,
			Detail: "there is no such session", Hint: "octobot ls shows those that there are"}
	}
	return err
}

// hideOther drops what a refused creation tells of a session that may be another project's.
func hideOther(ctx context.Context, err error) error {
	e, ok := errors.AsType[*session.Error](err)
	if !ok || e.Code != session.CodeSessionExists || principalOf(ctx).admin {
		return err
	}
	return &session.Error{Code: e.Code, Op: e.Op, SessionID: e.SessionID,
		Detail: "the ID is taken", Hint: "choose another ID"}
}
