package container

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The classes of errors that a [Runtime] returns. Each error has one of them, or is the ctx's own
// error; errors.Is finds it.
var (
	// ErrContainerNotFound: the engine answered that the session has no container.
	ErrContainerNotFound = errors.New("container not found")
	// ErrContainerStopped: the container exists and does not run.
	ErrContainerStopped = errors.New("container is stopped")
	// ErrContainerPaused: the container runs, and its processes are frozen; see [Pauser]. It is no
	// ErrContainerStopped: nothing has ended.
	ErrContainerPaused = errors.New("container is paused")
	// ErrExecFailed: the command could not be started.
	ErrExecFailed = errors.New("exec failed")
	// ErrContainerExists: the session has a container already.
	ErrContainerExists = errors.New("container already exists")
	// ErrInvalidArgument: the call was refused before the engine was asked, or the engine refused
	// its arguments.
	ErrInvalidArgument = errors.New("invalid argument")
	// ErrImageNotFound: neither the engine nor the registry has the image, or the registry refused
	// to say.
	ErrImageNotFound = errors.New("image not found")
	// ErrPortTaken: a host port that was asked for is in use.
	ErrPortTaken = errors.New("port is taken")
	// ErrRefused: the engine works, and answered that it won't or can't do this; the detail has its
	// words. It is not known to have changed anything, and not known to have changed nothing: an
	// engine that fails on the way says so with the same words. Above all it does not mean that the
	// container is gone.
	ErrRefused = errors.New("the engine refused")
	// ErrUnavailable: the engine did not answer, or failed without a word. Nothing is known about
	// the container; above all not that it is gone.
	ErrUnavailable = errors.New("engine unavailable")
	// ErrUnsupported: the engine can't do that.
	ErrUnsupported = errors.New("not supported")
	// ErrClosed: the runtime was closed.
	ErrClosed = errors.New("runtime is closed")
	// ErrPathNotFound: a path inside the container does not exist or can't be used
	// for what was asked; see [Copier].
	ErrPathNotFound = errors.New("path not found")
	// ErrPathExists: there is something at a path already.
	ErrPathExists = errors.New("path already exists")
	// ErrPathChanged: a file is not the one, or not any more, that it had to be; see
	// [WriteFileOptions].
	ErrPathChanged = errors.New("file has changed")
	// ErrPermission: the container's user may not do that.
	ErrPermission = errors.New("permission denied")
	// ErrNoSpace: the container's file system is full.
	ErrNoSpace = errors.New("no space left")
	// ErrTerminalNotFound: the container keeps no such terminal; see [Terminals].
	ErrTerminalNotFound = errors.New("terminal not found")
	// ErrTerminalExists: the container keeps a terminal of that name already.
	ErrTerminalExists = errors.New("terminal already exists")
	// ErrProcessNotFound: the container keeps no such process; see [Processes].
	ErrProcessNotFound = errors.New("process not found")
	// ErrLimitReached: there are as many of them as there may be.
	ErrLimitReached = errors.New("limit reached")
	// ErrPortClosed: nothing in the container takes connections there; see [PortDialer].
	ErrPortClosed = errors.New("port is closed")
)

// ErrMayStillRun is beside the class of an error after which a command was to be killed, where it
// is not known that it was. It is no class itself.
var ErrMayStillRun = errors.New("the command may still run")

var classes = []error{
	ErrContainerNotFound, ErrContainerStopped, ErrContainerPaused, ErrExecFailed, ErrContainerExists,
	ErrInvalidArgument, ErrImageNotFound, ErrPortTaken, ErrRefused, ErrUnavailable,
	ErrUnsupported, ErrClosed, ErrPathNotFound, ErrPathExists, ErrPathChanged, ErrPermission, ErrNoSpace,
	ErrTerminalNotFound, ErrTerminalExists, ErrProcessNotFound,
	ErrLimitReached,
	ErrPortClosed,
	context.Canceled, context.DeadlineExceeded,
}

// ClassOf returns the class of an error that came from a [Runtime]: one of this
// package's, context.Canceled or context.DeadlineExceeded. Where an error wraps several,
// the outermost [Error] decides. An error without a class gives nil.
func ClassOf(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Class != nil {
		return e.Class
	}
	for _, c := range classes {
		if errors.Is(err, c) {
			return c
		}
	}
	return nil
}

// Classes returns every class that [ClassOf] can give.
func Classes() []error { return append([]error(nil), classes...) }

// Error is an error of a [Runtime]: what was done, to which session, what class of
// trouble came of it, and the details.
type Error struct {
	Op        string // the method in lower case: "create", "exec"
	SessionID string // empty where the operation is about no one session
	Class     error  // one of the classes
	// Detail says more in words made for the user; may be empty. It never holds an error
	// of an engine's SDK, only its text, and that as [Printable] gives it.
	Detail string
}

// Error gives: create session "demo": image not found: no such image: foo:latest.
func (e *Error) Error() string {
	s := e.Op
	if e.SessionID != "" {
		s += fmt.Sprintf(" session %q", e.SessionID)
	}
	s += ": " + e.Class.Error()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Unwrap gives the class.
func (e *Error) Unwrap() error { return e.Class }

// Errorf makes an [Error] whose detail is formatted, and then made [Printable]. Arguments are
// rendered as text: what they wrap does not cross the seam.
func Errorf(op, sessionID string, class error, format string, args ...any) error {
	return &Error{Op: op, SessionID: sessionID, Class: class, Detail: Printable(fmt.Sprintf(format, args...))}
}

// maxPrintable bounds what is shown of somebody else's words, in bytes.
const maxPrintable = 1 << 10

// Printable makes words of an engine, or of what is in a container, safe to show: what would be no
// visible character (control characters, those that change the direction of text, what is no UTF-8)
// becomes its Go escape, as \n, \u202e or \xff, and text beyond 1 KiB is cut.
func Printable(s string) string {
	s = strings.TrimSpace(s)
	if len(s) <= maxPrintable && utf8.ValidString(s) && !strings.ContainsFunc(s, isHidden) {
		return s
	}
	var b strings.Builder
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		shown := s[:size]
		switch {
		case r == utf8.RuneError && size == 1:
			shown = fmt.Sprintf(`\x%02x`, s[0])
		case isHidden(r):
			shown = strings.Trim(strconv.QuoteRuneToASCII(r), "'")
		}
		if b.Len()+len(shown) > maxPrintable {
			return b.String() + "…"
		}
		b.WriteString(shown)
		s = s[size:]
	}
	return b.String()
}

// isHidden: neither a space nor a letter, mark, number, punctuation or symbol.
func isHidden(r rune) bool { return !unicode.IsPrint(r) }

// NameTaken is the error of a Create of an instance's where holder has the name that the container
// needs, or is the session's own.
func NameTaken(instance string, holder *Container) error {
	since := holder.CreatedAt.UTC().Format(time.RFC3339)
	owner := holder.Labels[LabelInstance]
	switch {
	case holder.Labels[LabelOctobot] != "true" || owner == "":
		return Errorf("", "", ErrContainerExists, "a container that is not Octobot's has had its name since %s", since)
	case owner != instance:
		return Errorf("", "", ErrContainerExists,
			"the installation %s has a session of that ID on this engine since %s",
			owner, since)
	}
	return Errorf("", "", ErrContainerExists, "the engine has a container of that session since %s", since)
}
