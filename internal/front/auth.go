package front

import (
	"context"
	"net/http"
	"strings"

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
	who, err := f.callerOf(r)
	who.Address = r.RemoteAddr
	if err != nil {
		f.auth.AuditRefusal(r.Context(), who.Principal, err)
		return caller{}, err
	}
	return who, nil
}

func (f *Front) callerOf(r *http.Request) (caller, error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if secret = strings.TrimSpace(secret); !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return caller{}, &session.Error{Code: session.CodeUnauthenticated, Op: "authenticate",
			Detail: "the request has no bearer token",
			Hint:   "octobot token create makes one; send it as Authorization: Bearer octo_…"}
	}
	token, err := f.auth.Authenticate(r.Context(), secret)
	if err != nil {
		return caller{}, err
	}
	who := session.Principal{Name: token.Name, Admin: token.ProjectID == "", ProjectID: token.ProjectID}
	return caller{who, &token}, nil
}
