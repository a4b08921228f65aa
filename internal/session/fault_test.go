package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/octobot-run/octobot/internal/container"
)

// TestFaultOfEveryClass checks that each class of the seam has a code of its own choice, and that
// users are shown no more than a provider meant for them.
func TestFaultOfEveryClass(t *testing.T) {
	want := map[error]Code{
		container.ErrContainerNotFound: CodeContainerLost,
		container.ErrContainerStopped:  CodeSessionNotRunning,
		container.ErrContainerPaused:   CodeSessionNotRunning,
		container.ErrExecFailed:        CodeExecFailed,
		container.ErrContainerExists:   CodeSessionExists,
		container.ErrInvalidArgument:   CodeInvalidArgument,
		container.ErrImageNotFound:     CodeImageNotFound,
		container.ErrPortTaken:         CodePortTaken,
		container.ErrRefused:           CodeEngineRefused,
		container.ErrUnavailable:       CodeEngineUnavailable,
		container.ErrUnsupported:       CodeUnsupported,
		container.ErrClosed:            CodeEngineUnavailable,
		container.ErrPathNotFound:      CodePathNotFound,
		container.ErrPathExists:        CodePathExists,
		container.ErrPathChanged:       CodePathChanged,
		container.ErrPermission:        CodePermissionDenied,
		container.ErrNoSpace:           CodeNoSpace,
		container.ErrTerminalNotFound:  CodeTerminalNotFound,
		container.ErrTerminalExists:    CodeTerminalExists,
		container.ErrProcessNotFound:   CodeProcessNotFound,
		container.ErrLimitReached:      CodeLimitReached,
		container.ErrPortClosed:        CodePortClosed,
		context.Canceled:               CodeCancelled,
		context.DeadlineExceeded:       CodeTimeout,
	}
	hidden := []error{container.ErrUnavailable, container.ErrClosed, context.Canceled, context.DeadlineExceeded}
	for _, class := range container.Classes() {
		t.Run(class.Error(), func(t *testing.T) {
			cause := container.Errorf("start", "x", class, "dial /run/engine.sock")
			e := toError(t.Context(), "start", "x", cause)
			if e.Code != want[class] || e.Code == "" {
				t.Errorf("got %q, want %q", e.Code, want[class])
			}
			if e.Op != "start" || e.SessionID != "x" || e.Detail == "" || !errors.Is(e, class) {
				t.Errorf("%+v", e)
			}
			if slices.Contains(hidden, class) && strings.Contains(e.Error()+e.Hint, "/run/engine.sock") {
				t.Errorf("it shows an internal: %v", e)
			}
		})
	}
	if e := toError(t.Context(), "get", "x", errors.New("panic at 0xdead")); e.Code != CodeInternal ||
		strings.Contains(e.Error(), "0xdead") {
		t.Errorf("%v", e)
	}
	for err, code := range map[error]Code{ErrNotFound: CodeSessionNotFound, ErrExists: CodeSessionExists,
		ErrConflict: CodeBusy} {
		if e := toError(t.Context(), "get", "x", err); e.Code != code {
			t.Errorf("%v: got %q, want %q", err, e.Code, code)
		}
	}
}

// TestFaultKeepsTheFirstWord checks that an error is not classified twice.
func TestFaultKeepsTheFirstWord(t *testing.T) {
	inner := refuse(CodeForbidden, "hint", "detail")
	outer := toError(t.Context(), "create", "x", inner)
	if outer.Code != CodeForbidden || outer.Op != "create" || outer.SessionID != "x" || outer.Hint != "hint" {
		t.Errorf("%+v", outer)
	}
	if inner.Op != "" {
		t.Error("the original was changed")
	}
	if again := toError(t.Context(), "reconcile", "y", outer); again.Op != "create" || again.SessionID != "x" {
		t.Errorf("%+v", again)
	}
}
