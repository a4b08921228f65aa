package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// exitCode is an error that chooses the exit code. Without a cause, nothing is printed.
type exitCode struct {
	code  int
	cause error
}

func (e *exitCode) Error() string {
	if e.cause == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.cause.Error()
}

func (e *exitCode) Unwrap() error { return e.cause }

// usageError is a command line that can't be understood.
func usageError(cmd *cobra.Command, format string, args ...any) error {
	problem := fmt.Sprintf(format, args...)
	if cmd.HasParent() {
		problem = strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ") + ": " + problem
	}
	return fmt.Errorf("%s; see \"%s --help\"", problem, cmd.CommandPath())
}

// oneOf refuses flags that can't be together: the first with any of the others.
func oneOf(cmd *cobra.Command, first string, others ...string) error {
	for _, other := range others {
		if cmd.Flags().Changed(first) && cmd.Flags().Changed(other) {
			return usageError(cmd, "--%s and --%s can't be together", first, other)
		}
	}
	return nil
}

// passesExitCodes makes a command whose exit code is another's keep its own errors apart from that.
func passesExitCodes(cmd *cobra.Command) {
	args := cmd.Args
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		if err := args(cmd, given); err != nil {
			return &exitCode{exitOwnError, err}
		}
		return nil
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exitCode{exitOwnError, flagError(cmd, err)}
	})
}

// errorLines gives what is printed of an error: what, why, and what to do, in one line for each
// error that is joined in it.
func errorLines(err error) []string {
	if e, ok := err.(*exitCode); ok {
		if err = e.cause; err == nil {
			return nil
		}
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var lines []string
		for _, e := range joined.Unwrap() {
			lines = append(lines, errorLines(e)...)
		}
		return lines
	}
	line := err.Error()
	if e, ok := errors.AsType[*client.UnreachableError](err); ok {
		line = strings.Replace(line, e.Error(), unreachable(e), 1)
	}
	line = inWords(line, err)
	if e, ok := errors.AsType[*client.Error](err); ok {
		// The command has said which session already.
		line = strings.Replace(line, fmt.Sprintf("session %q: ", e.SessionID), "", 1)
	}
	if hint := hintOf(err); hint != "" {
		line += "; " + hint
	}
	return []string{oneLine(line)}
}

// inWords says in a line for people what it says of err in the words of Go's packages.
func inWords(line string, err error) string {
	replace := func(e error, words string) { line = strings.ReplaceAll(line, e.Error(), words) }
	if e, ok := errors.AsType[*net.OpError](err); ok {
		words := operationInWords(e)
		if addr := e.Addr; addr != nil && !strings.Contains(strings.Replace(line, e.Error(), "", 1), addr.String()) {
			words = addr.String() + ": " + words
		}
		replace(e, words)
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		replace(e, fmt.Sprintf("there is no host %q", e.Name))
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok && slices.Contains(systemCalls, e.Op) {
		replace(e, e.Path+": "+e.Err.Error())
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		replace(e, fmt.Sprintf("no JSON, from byte %d on", e.Offset))
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		replace(e, fmt.Sprintf("%s: %s does not fit", e.Field, e.Value))
	}
	if e, ok := errors.AsType[*strconv.NumError](err); ok {
		replace(e, fmt.Sprintf("%q is not a number that is allowed", e.Num))
	}
	for cause, words := range map[error]string{
		context.DeadlineExceeded: "it took too long", io.ErrUnexpectedEOF: "it ended too early",
	} {
		if errors.Is(err, cause) {
			replace(cause, words)
		}
	}
	return line
}

// systemCalls are what errors of files name that is no word.
var systemCalls = []string{"stat", "lstat", "fstat", "fstatat", "newfstatat", "openat", "fdopendir", "readdirent",
	"getdents64", "mkdirat", "unlinkat", "renameat", "readlinkat", "utimensat", "fchmodat", "statx"}

// operationInWords says what failed on a connection of this machine's.
func operationInWords(e *net.OpError) string {
	dns, ok := errors.AsType[*net.DNSError](e.Err)
	if ok && dns.IsNotFound {
		return fmt.Sprintf("there is no host %q", dns.Name)
	}
	if call, ok := e.Err.(*os.SyscallError); ok {
		return call.Err.Error()
	}
	if e.Timeout() {
		return "no answer in time"
	}
	return e.Err.Error()
}

func unreachable(e *client.UnreachableError) string {
	why, what := e.Err.Error(), `start one with "octobot serve", or name another with --data-dir or --url`
	switch {
	case errors.Is(e.Err, fs.ErrPermission):
		what = "run octobot as the user who started the daemon"
	case errors.Is(e.Err, fs.ErrNotExist):
		why = "there is no socket"
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		why = "connection refused"
	}
	return fmt.Sprintf("no daemon answers at %s: %s; %s", e.Address, why, what)
}

// hintOf says what to do about an error: in the server's words where it has any.
func hintOf(err error) string {
	e, ok := errors.AsType[*client.Error](err)
	switch {
	case !ok:
		return ""
	case e.Code == v1.CodeUnauthenticated:
		return `make a token with "octobot token create" where the daemon runs, and set OCTOBOT_TOKEN`
	}
	return e.Hint
}

// oneLine keeps what a server or an engine says from spoiling the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) { // which what changes the direction of text is not
			return r
		}
		return '\uFFFD'
	}, strings.Join(strings.Fields(s), " "))
}

// forEachSession does something with every ID, goes on after an error, and joins the errors.
func forEachSession(ctx context.Context, what string, ids []string, do func(id string) error) error {
	var errs []error
	for _, id := range ids {
		if ctx.Err() != nil {
			return errors.Join(append(errs, context.Cause(ctx))...)
		}
		if err := do(id); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", what, id, err))
		}
	}
	return errors.Join(errs...)
}
