package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/session"
)

// statusClientClosed is nginx's for a client that went away; nobody reads it but logs.
const statusClientClosed = 499

// statuses is the only table of statuses.
var statuses = map[v1.Code]int{
	v1.CodeInvalidArgument:   http.StatusBadRequest,
	v1.CodeForbidden:         http.StatusForbidden,
	v1.CodeSessionNotFound:   http.StatusNotFound,
	v1.CodeSessionExists:     http.StatusConflict,
	v1.CodeSessionNotRunning: http.StatusConflict,
	v1.CodeSessionClosed:     http.StatusGone,
	v1.CodeContainerLost:     http.StatusConflict,
	v1.CodeImageNotFound:     http.StatusUnprocessableEntity,
	v1.CodeExecFailed:        http.StatusUnprocessableEntity,
	v1.CodePortTaken:         http.StatusConflict,
	v1.CodePathNotFound:      http.StatusUnprocessableEntity,
	v1.CodeUnsupported:       http.StatusNotImplemented,
	v1.CodeEngineUnavailable: http.StatusServiceUnavailable,
	v1.CodeStoreUnavailable:  http.StatusServiceUnavailable,
	v1.CodeBusy:              http.StatusServiceUnavailable,
	v1.CodeTimeout:           http.StatusGatewayTimeout,
	v1.CodeCancelled:         statusClientClosed,
	v1.CodeTokenExists:       http.StatusConflict,
	v1.CodeTokenNotFound:     http.StatusNotFound,
	v1.CodeUnauthenticated:   http.StatusUnauthorized,
	v1.CodeReconcileRefused:  http.StatusConflict,
	v1.CodeInternal:          http.StatusInternalServerError,

	v1.CodeNotFound:             http.StatusNotFound,
	v1.CodeMethodNotAllowed:     http.StatusMethodNotAllowed,
	v1.CodeBodyTooLarge:         http.StatusRequestEntityTooLarge,
	v1.CodeHeadersTooLarge:      http.StatusRequestHeaderFieldsTooLarge,
	v1.CodeUnsupportedMediaType: http.StatusUnsupportedMediaType,
	v1.CodeRequestTimeout:       http.StatusRequestTimeout,
	v1.CodeUpgradeRequired:      http.StatusUpgradeRequired,
	v1.CodeHostNotAllowed:       http.StatusForbidden,
}

const problemType = "application/problem+json"

// problem is a refusal on its way out. It is an error, and one that huma can write.
type problem struct {
	v1.Problem
	header http.Header
}

func (p *problem) Error() string                { return p.Detail }
func (p *problem) GetStatus() int               { return p.Status }
func (p *problem) GetHeaders() http.Header      { return p.header }
func (*problem) ContentType(string) string      { return problemType }
func (p *problem) MarshalJSON() ([]byte, error) { return json.Marshal(p.Problem) }

func newProblem(code v1.Code, format string, args ...any) *problem {
	status, ok := statuses[code]
	if !ok {
		code, status = v1.CodeInternal, http.StatusInternalServerError
	}
	p := &problem{header: http.Header{}, Problem: v1.Problem{
		Type: "urn:octobot:problem:" + string(code), Title: http.StatusText(status), Status: status,
		Code: code, Detail: fmt.Sprintf(format, args...),
	}}
	switch status {
	case http.StatusUnauthorized:
		p.header.Set("WWW-Authenticate", `Bearer realm="octobot"`)
	case http.StatusServiceUnavailable:
		p.header.Set("Retry-After", "1")
	case http.StatusUpgradeRequired:
		p.header.Set("Connection", "Upgrade")
		p.header.Set("Upgrade", "websocket")
	case statusClientClosed:
		p.Title = "Client Closed Request"
	}
	return p
}

func (p *problem) hint(hint string) *problem {
	p.Hint = hint
	return p
}

// problemOf makes a problem of any error. What is ours to repair is logged, and the client gets
// no more than a number to ask about.
func (a *API) problemOf(ctx context.Context, err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	e, ok := errors.AsType[*session.Error](err)
	if !ok || e.Code == session.CodeInternal {
		p := newProblem(v1.CodeInternal, "something went wrong inside octobot")
		p.Instance = "urn:octobot:error:" + strings.ToLower(rand.Text()[:12])
		a.log.LogAttrs(ctx, slog.LevelError, "request failed", slog.String("instance", p.Instance),
			slog.Any("error", err), slog.Any("cause", errors.Unwrap(err)))
		return p.hint("look for the instance in the daemon's log")
	}
	p := newProblem(v1.Code(e.Code), "%s", e.Detail)
	if e.SessionID != "" && container.ValidateSessionID(e.SessionID) == nil {
		p.SessionID = e.SessionID
		p.Detail = fmt.Sprintf("session %q: %s", e.SessionID, e.Detail)
	}
	if p.Status >= http.StatusInternalServerError {
		a.log.LogAttrs(ctx, slog.LevelDebug, "request failed", slog.Any("error", err),
			slog.Any("cause", errors.Unwrap(e)))
	}
	return p.hint(e.Hint)
}

func writeProblem(w http.ResponseWriter, p *problem) {
	h := w.Header()
	for name, values := range p.header {
		h[name] = values
	}
	h.Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_, _ = w.Write(mustMarshal(p.Problem))
}

// mustMarshal is for values that JSON always can hold: an error is a mistake in this program.
func mustMarshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("httpapi: marshal %T: %v", v, err))
	}
	return b
}

// huma has one way to say how its own refusals look: these variables.
func init() {
	huma.NewError = refusal
	huma.NewErrorWithContext = func(_ huma.Context, status int, msg string, errs ...error) huma.StatusError {
		return refusal(status, msg, errs...)
	}
}

// refusal makes a problem of what huma found wrong with a request. The offending values are left
// out: they may be secrets.
func refusal(status int, msg string, errs ...error) huma.StatusError {
	const most = 3
	var details []string
	for _, err := range errs {
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return bodyTooLarge(tooLarge.Limit)
		}
		detail, ok := err.(*huma.ErrorDetail)
		if !ok || len(details) == most {
			continue
		}
		details = append(details, strings.TrimPrefix(detail.Location, "body.")+": "+detail.Message)
	}
	switch status {
	case http.StatusUnsupportedMediaType:
		return newProblem(v1.CodeUnsupportedMediaType, "the body's Content-Type is not application/json")
	case http.StatusRequestTimeout:
		return newProblem(v1.CodeRequestTimeout, "the body did not arrive in time")
	}
	if len(details) > 0 {
		msg = strings.Join(details, "; ")
	}
	// The one failure of huma's own is to read a body, and that is the client's doing.
	return newProblem(v1.CodeInvalidArgument, "%s", msg)
}

func bodyTooLarge(limit int64) *problem {
	return newProblem(v1.CodeBodyTooLarge, "the body is larger than %d bytes", limit).
		hint("stream a command's large input through the exec WebSocket")
}
