package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
)

// worded says in words for people what another error means, and stays that error.
type worded struct {
	words string
	err   error
}

func (w *worded) Error() string { return w.words }
func (w *worded) Unwrap() error { return w.err }

// causeInWords gives words to why ctx has ended, where its owner gave none.
func causeInWords(ctx context.Context) error {
	switch cause := context.Cause(ctx); cause {
	case context.Canceled:
		return &worded{"it was cancelled", cause}
	case context.DeadlineExceeded:
		return &worded{"there was no answer in time", cause}
	default:
		return cause
	}
}

// inWords gives trouble on the way words for people. What has some of its own keeps them.
func inWords(err error) error {
	if words := wordsOf(err); words != "" {
		return &worded{words, err}
	}
	return err
}

func wordsOf(err error) string {
	if _, ok := errors.AsType[*worded](err); ok {
		return ""
	}
	if _, ok := errors.AsType[*x509.UnknownAuthorityError](err); ok {
		return "the server's certificate is of an authority that is not trusted here"
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the server's certificate is not accepted: " + strings.TrimPrefix(e.Err.Error(), "x509: ")
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		if e.IsNotFound {
			return fmt.Sprintf("there is no host %q", e.Name)
		}
		return fmt.Sprintf("the address of host %q can't be found out", e.Name)
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("the answer is no JSON, from byte %d on; does an Octobot server answer there?", e.Offset)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("the answer's %q holds what does not belong there (%s); is the server of another version?",
			e.Field, e.Value)
	}
	// Others are of files, which their own words name.
	if op, ok := errors.AsType[*net.OpError](err); ok {
		if errno, ok := errors.AsType[syscall.Errno](op); ok {
			return errno.Error()
		}
	}
	if call, ok := err.(*os.SyscallError); ok { // of a dial
		return call.Err.Error()
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "the server does not speak TLS; is its address http:// instead of https://?"
	}
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server closed the connection"
	case errors.Is(err, net.ErrClosed):
		return "the connection was closed"
	case ok && timeout.Timeout():
		return "there was no answer in time"
	}
	return ""
}
