// Package problem is how refusals look over HTTP: RFC 9457 problems with a stable code. It has the
// only table of statuses.
package problem

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/session"
)

// statusClientClosed is nginx's for a client that went away; nobody reads it but logs.
const statusClientClosed = 499

// Statuses is the only table of statuses.
var Statuses = map[v1.Code]int{
	v1.CodeInvalidArgument:   http.StatusBadRequest,
	v1.CodeForbidden:         http.StatusForbidden,
	v1.CodePolicyDenied:      http.StatusForbidden,
	v1.CodeQuotaExceeded:     http.StatusTooManyRequests,
	v1.CodeSessionNotFound:   http.StatusNotFound,
	v1.CodeSessionExists:     http.StatusConflict,
	v1.CodeSessionNotRunning: http.StatusConflict,
	v1.CodeSessionClosed:     http.StatusGone,
	v1.CodeContainerLost:     http.StatusConflict,
	v1.CodeImageNotFound:     http.StatusUnprocessableEntity,
	v1.CodeExecFailed:        http.StatusUnprocessableEntity,
	v1.CodePortTaken:         http.StatusConflict,
	v1.CodePathNotFound:      http.StatusNotFound,
	v1.CodePathExists:        http.StatusConflict,
	v1.CodePathChanged:       http.StatusPreconditionFailed,
	v1.CodePermissionDenied:  http.StatusForbidden,
	v1.CodeNoSpace:           http.StatusInsufficientStorage,
	v1.CodeTerminalNotFound:  http.StatusNotFound,
	v1.CodeTerminalExists:    http.StatusConflict,
	v1.CodeProcessNotFound:   http.StatusNotFound,
	v1.CodeRecordingNotFound: http.StatusNotFound,
	v1.CodeLimitReached:      http.StatusConflict,
	v1.CodePortClosed:        http.StatusConflict,
	v1.CodeUnsupported:       http.StatusNotImplemented,
	v1.CodeEngineRefused:     http.StatusBadGateway,
	v1.CodeEngineUnavailable: http.StatusServiceUnavailable,
	v1.CodeStoreUnavailable:  http.StatusServiceUnavailable,
	v1.CodeBusy:              http.StatusServiceUnavailable,
	v1.CodeTimeout:           http.StatusGatewayTimeout,
	v1.CodeCancelled:         statusClientClosed,
	v1.CodeTokenExists:       http.StatusConflict,
	v1.CodeTokenNotFound:     http.StatusNotFound,
	v1.CodeProjectNotFound:   http.StatusNotFound,
	v1.CodeUnauthenticated:   http.StatusUnauthorized,
	v1.CodeReconcileRefused:  http.StatusConflict,
	v1.CodeInternal:          http.StatusInternalServerError,

	v1.CodeNotFound:             http.StatusNotFound,
	v1.CodeMethodNotAllowed:     http.StatusMethodNotAllowed,
	v1.CodeBodyTooLarge:         http.StatusRequestEntityTooLarge,
	v1.CodeHeadersTooLarge:      http.StatusRequestHeaderFieldsTooLarge,
	v1.CodeUnsupportedMediaType: http.StatusUnsupportedMediaType,
	v1.CodeRequestTimeout:       http.StatusRequestTimeout,
	v1.CodeRangeNotSatisfiable:  http.StatusRequestedRangeNotSatisfiable,
	v1.CodeUpgradeRequired:      http.StatusUpgradeRequired,
	v1.CodeHostNotAllowed:       http.StatusForbidden,
}

// ContentType is a problem's.
const ContentType = "application/problem+json"

// Problem is a refusal on its way out. It is an error, and one that huma can write.
type Problem struct {
	v1.Problem
	header http.Header
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is for huma.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders is for huma.
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType is for huma.
func (*Problem) ContentType(string) string { return ContentType }

// MarshalJSON gives what is on the wire.
func (p *Problem) MarshalJSON() ([]byte, error) { return json.Marshal(p.Problem) }

// New makes a problem. A code that has no status becomes an internal error.
func New(code v1.Code, format string, args ...any) *Problem {
	status, ok := Statuses[code]
	if !ok {
		code, status = v1.CodeInternal, http.StatusInternalServerError
	}
	p := &Problem{header: http.Header{}, Problem: v1.Problem{
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

// WithHint adds what to do about it, and returns p.
func (p *Problem) WithHint(hint string) *Problem {
	p.Hint = hint
	return p
}

// WithHeader adds a header of the answer, and returns p.
func (p *Problem) WithHeader(name, value string) *Problem {
	p.header.Set(name, value)
	return p
}

// BodyTooLarge refuses a body of more than limit bytes.
func BodyTooLarge(limit int64) *Problem {
	return New(v1.CodeBodyTooLarge, "the body is larger than %d bytes", limit).
		WithHint("stream a command's large input through the exec WebSocket")
}

// Of makes a problem of any error. What is ours to repair is logged, and the client gets no more
// than a number to ask about.
func Of(ctx context.Context, log *slog.Logger, err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	e, ok := errors.AsType[*session.Error](err)
	if !ok || e.Code == session.CodeInternal {
		p := New(v1.CodeInternal, "something went wrong inside octobot")
		p.Instance = "urn:octobot:error:" + strings.ToLower(rand.Text()[:12])
		log.LogAttrs(ctx, slog.LevelError, "request failed", slog.String("instance", p.Instance),
			slog.Any("error", err), slog.Any("cause", errors.Unwrap(err)))
		return p.WithHint("look for the instance in the daemon's log")
	}
	p := New(v1.Code(e.Code), "%s", e.Detail)
	if e.SessionID != "" && container.ValidateSessionID(e.SessionID) == nil {
		p.SessionID = e.SessionID
		p.Detail = fmt.Sprintf("session %q: %s", e.SessionID, e.Detail)
	}
	if p.Status >= http.StatusInternalServerError {
		log.LogAttrs(ctx, slog.LevelDebug, "request failed", slog.Any("error", err),
			slog.Any("cause", errors.Unwrap(e)))
	}
	return p.WithHint(e.Hint)
}

// CauseOf returns the refusal for which ctx was ended, where that is so, instead of err, which came
// of it.
func CauseOf(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	cause := context.Cause(ctx)
	if p, ok := errors.AsType[*Problem](cause); ok {
		return p
	}
	if e, ok := errors.AsType[*session.Error](cause); ok {
		return e
	}
	return err
}

// Write answers with p.
func Write(w http.ResponseWriter, p *Problem) {
	b, err := json.Marshal(p.Problem)
	if err != nil { // strings and numbers: a mistake in this program
		panic(fmt.Sprintf("problem: marshal: %v", err))
	}
	h := w.Header()
	for name, values := range p.header {
		h[name] = values
	}
	h.Set("Content-Type", ContentType)
	w.WriteHeader(p.Status)
	_, _ = w.Write(b)
}
