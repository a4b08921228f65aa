package front

import (
	"context"
	"net/http"
	"strings"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

type principalKey struct{}

// PrincipalOf returns who makes the request that ctx belongs to: the zero value where nobody had
// to say.
func PrincipalOf(ctx context.Context) session.Principal {
	p, _ := ctx.Value(principalKey{}).(session.Principal)
	return p
}

// authenticate finds the principal by the request's bearer token.
func (f *Front) authenticate(r *http.Request) (session.Principal, error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if secret = strings.TrimSpace(secret); !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return session.Principal{}, problem.New(v1.CodeUnauthenticated, "the request has no bearer token").
			WithHint("octobot token create makes one; send it as Authorization: Bearer octo_…")
	}
	token, err := f.auth.Authenticate(r.Context(), secret)
	if err != nil {
		return session.Principal{}, err
	}
	return session.Principal{Name: token.Name, Admin: token.ProjectID == "", ProjectID: token.ProjectID}, nil
}
