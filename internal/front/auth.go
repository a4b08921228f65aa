package front

import (
	"context"
	"net/http"
	"strings"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

// caller is who makes a request, and by what right.
type caller struct {
	session.Principal
	token *session.Token // nil where none was asked for
}

type callerKey struct{}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// PrincipalOf returns who makes the request that ctx belongs to: the zero value where nobody had
// to say.
func PrincipalOf(ctx context.Context) session.Principal { return callerOf(ctx).Principal }

// authenticate finds the principal by the request's bearer token.
func (f *Front) authenticate(r *http.Request) (caller, error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if secret = strings.TrimSpace(secret); !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return caller{}, problem.New(v1.CodeUnauthenticated, "the request has no bearer token").
			WithHint("octobot token create makes one; send it as Authorization: Bearer octo_…")
	}
	token, err := f.auth.Authenticate(r.Context(), secret)
	if err != nil {
		return caller{}, err
	}
	who := session.Principal{Name: token.Name, Admin: token.ProjectID == "", ProjectID: token.ProjectID}
	return caller{who, &token}, nil
}
