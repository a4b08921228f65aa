package httpapi

import (
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/problem"
)

// refusing is the context of a request whose refusal by huma, if there is one, becomes a problem.
// Huma's own way, a variable of its package, would do the same to every API of the program.
type refusing struct {
	humaContext
	problem *problem.Problem
}

// humaContext has another name than its method.
type humaContext = huma.Context

// Unwrap is for humago.
func (c *refusing) Unwrap() huma.Context { return c.humaContext }

// SetStatus begins the answer, with the status of the problem rather than with huma's.
func (c *refusing) SetStatus(status int) {
	if c.problem != nil {
		status = c.problem.Status
	}
	c.humaContext.SetStatus(status)
}

func shapeRefusals(ctx huma.Context, next func(huma.Context)) { next(&refusing{humaContext: ctx}) }

// transformRefusal makes a problem of what huma found wrong with a request.
func (a *API) transformRefusal(ctx huma.Context, _ string, v any) (any, error) {
	model, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := refusal(model, a.maxBody)
	if c, ok := ctx.(*refusing); ok {
		c.problem = p
	}
	return p, nil
}

// refusal leaves the offending values out: they may be secrets.
func refusal(model *huma.ErrorModel, maxBody int64) *problem.Problem {
	const most = 3
	var details []string
	for _, d := range model.Errors {
		if d.Message == (&http.MaxBytesError{}).Error() {
			return problem.BodyTooLarge(maxBody)
		}
		if d.Location != "" && len(details) < most {
			details = append(details, strings.TrimPrefix(d.Location, "body.")+": "+d.Message)
		}
	}
	switch model.Status {
	case http.StatusUnsupportedMediaType:
		return problem.New(v1.CodeUnsupportedMediaType, "the body's Content-Type is not application/json")
	case http.StatusRequestTimeout:
		return problem.New(v1.CodeRequestTimeout, "the body did not arrive in time")
	}
	if len(details) > 0 {
		return problem.New(v1.CodeInvalidArgument, "%s", strings.Join(details, "; "))
	}
	// The one failure of huma's own is to read a body, and that is the client's doing.
	return problem.New(v1.CodeInvalidArgument, "%s", model.Detail)
}
