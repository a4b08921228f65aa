package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

type healthOutput struct {
	Body v1.Health
}

// open marks an operation that needs no token.
var open = []map[string][]string{{}}

func (a *API) adminRoutes() {
	route(a, huma.Operation{
		OperationID: "healthz", Method: http.MethodGet, Path: "/healthz", Tags: []string{"Server"}, Security: open,
		Summary: "Whether the server runs",
	}, func(context.Context, *struct{}) (*healthOutput, error) {
		return &healthOutput{Body: v1.Health{Status: "ok"}}, nil
	})
	route(a, huma.Operation{
		OperationID: "readyz", Method: http.MethodGet, Path: "/readyz", Tags: []string{"Server"}, Security: open,
		Summary: "Whether the store and the engine answer",
	}, a.ready)
	route(a, huma.Operation{
		OperationID: "info", Method: http.MethodGet, Path: "/v1/info", Tags: []string{"Server"},
		Summary: "What the server is, and what its engine can do",
	}, a.info)
	route(a, huma.Operation{
		OperationID: "doctor", Method: http.MethodGet, Path: "/v1/doctor", Tags: []string{"Server"},
		Summary: "What is wrong with the server's data directory, store and engine", Description: "For admins.",
	}, a.diagnose)
	route(a, huma.Operation{
		OperationID: "reconcile", Method: http.MethodPost, Path: "/v1/reconcile", Tags: []string{"Server"},
		Summary: "Compare sessions and containers now", Description: "For admins.",
	}, a.reconcile)
	route(a, huma.Operation{
		OperationID: "create-token", Method: http.MethodPost, Path: "/v1/tokens", Tags: []string{"Server"},
		Summary: "Create a token", Description: "For admins. The secret is shown this once.",
		DefaultStatus: http.StatusCreated,
	}, a.createToken)
	route(a, huma.Operation{
		OperationID: "list-tokens", Method: http.MethodGet, Path: "/v1/tokens", Tags: []string{"Server"},
		Summary: "List tokens", Description: "For admins.",
	}, a.listTokens)
	route(a, huma.Operation{
		OperationID: "delete-token", Method: http.MethodDelete, Path: "/v1/tokens/{name}", Tags: []string{"Server"},
		Summary: "Delete a token", Description: "For admins. It is refused from then on.",
	}, a.deleteToken)
}

// ready tells nothing but what fails, in words for users: anybody may ask.
func (a *API) ready(ctx context.Context, _ *struct{}) (*healthOutput, error) {
	health := a.service.Health(ctx)
	switch {
	case errors.Is(health.Store, session.ErrDisplaced):
		return nil, health.Store
	case health.Store != nil:
		return nil, problem.New(v1.CodeStoreUnavailable, "the store does not answer")
	case session.CodeOf(health.Engine) == session.CodeEngineRefused:
		return nil, problem.New(v1.CodeEngineRefused, "the engine does not do what it is asked to")
	case health.Engine != nil:
		return nil, problem.New(v1.CodeEngineUnavailable, "the engine does not answer")
	}
	return &healthOutput{Body: v1.Health{Status: "ok"}}, nil
}

type infoOutput struct {
	Body v1.Info
}

func (a *API) info(ctx context.Context, _ *struct{}) (*infoOutput, error) {
	info := v1.Info{Version: a.cfg.Version, Instance: a.cfg.Instance,
		Capabilities: fromCapabilities(a.cfg.Capabilities)}
	if health := a.service.Health(ctx); health.Engine == nil {
		info.Engine = fromEngine(health.Info)
		if !front.PrincipalOf(ctx).Admin {
			info.Engine.Host = ""
		}
	}
	return &infoOutput{Body: info}, nil
}

type diagnosisOutput struct {
	Body v1.Diagnosis
}

func (a *API) diagnose(ctx context.Context, _ *struct{}) (*diagnosisOutput, error) {
	if err := front.PrincipalOf(ctx).RequireAdmin(); err != nil {
		return nil, err
	}
	if a.cfg.Diagnose == nil {
		return nil, problem.New(v1.CodeUnsupported, "this server does not diagnose itself")
	}
	findings := a.cfg.Diagnose(ctx)
	return &diagnosisOutput{Body: v1.Diagnosis{Findings: append([]v1.Finding{}, findings...)}}, nil
}

type reconcileInput struct {
	DryRun        bool `query:"dry_run" doc:"Change nothing; report what would be done."`
	AllowRemovals bool `query:"allow_removals" doc:"Remove unknown containers even where they are suspiciously many."`

	Instance string `query:"instance" maxLength:"128" doc:"Another installation, whose store is lost: with allow_removals, its containers on the engine are removed as well; with dry_run, shown as such."`
}

type reconcileOutput struct {
	Body v1.ReconcileReport
}

func (a *API) reconcile(ctx context.Context, in *reconcileInput) (*reconcileOutput, error) {
	report, err := a.service.ReconcilePass(ctx, front.PrincipalOf(ctx),
		session.ReconcileOptions{DryRun: in.DryRun, AllowRemovals: in.AllowRemovals, Instance: in.Instance})
	if err != nil {
		return nil, err
	}
	return &reconcileOutput{Body: fromReport(report, in.DryRun)}, nil
}

type createTokenInput struct {
	Body v1.CreateTokenRequest
}

type createTokenOutput struct {
	Body v1.CreatedToken
}

func (a *API) createToken(ctx context.Context, in *createTokenInput) (*createTokenOutput, error) {
	token, secret, err := a.service.CreateToken(ctx, front.PrincipalOf(ctx), in.Body.Name, in.Body.Project,
		time.Duration(in.Body.TTL))
	if err != nil {
		return nil, err
	}
	return &createTokenOutput{Body: v1.CreatedToken{Token: fromToken(token), Secret: secret}}, nil
}

type tokensOutput struct {
	Body v1.TokenList
}

func (a *API) listTokens(ctx context.Context, _ *struct{}) (*tokensOutput, error) {
	tokens, err := a.service.ListTokens(ctx, front.PrincipalOf(ctx))
	if err != nil {
		return nil, err
	}
	out := &tokensOutput{Body: v1.TokenList{Tokens: make([]v1.Token, 0, len(tokens))}}
	for _, t := range tokens {
		out.Body.Tokens = append(out.Body.Tokens, fromToken(t))
	}
	return out, nil
}

type tokenPath struct {
	Name string `path:"name"`
}

func (a *API) deleteToken(ctx context.Context, in *tokenPath) (*struct{}, error) {
	return nil, a.service.DeleteToken(ctx, front.PrincipalOf(ctx), in.Name)
}
