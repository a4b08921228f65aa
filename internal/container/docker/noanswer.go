package docker

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
)

// noAnswerInWords says why no answer of the engine came; empty where one did.
func noAnswerInWords(err error) string {
	if isEngineAnswer(err) {
		return ""
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		why := op.Err
		if call, ok := why.(*os.SyscallError); ok {
			why = call.Err
		}
		if op.Op == "dial" {
			return "can't connect to it: " + why.Error()
		}
		return "the connection to it was cut: " + why.Error()
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it closed the connection"
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not answer in time"
	}
	return ""
}
