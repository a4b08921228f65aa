package agentproto

import "fmt"

// Class is what kind of trouble an [Error] is.
type Class uint8

// Classes. Numbers are for ever.
const (
	Internal         Class = iota + 1 // the agent's own trouble
	InvalidArgument                   // the request makes no sense
	Unsupported                       // an agent of this version, or in this container, can't do that
	CommandNotFound                   // a command can't be started
	NotFound                          // there is nothing of that name
	Exists                            // there is something of that name already
	LimitReached                      // there is no room for more
	PermissionDenied                  // the user may not
	NoSpace                           // the file system is full
	Changed                           // a file is not the one that it had to be
)

// Error is the answer to a request that failed, with words for the user.
type Error struct {
	Class  Class
	Detail string
}

// Kind implements [Message].
func (*Error) Kind() Kind { return KindError }

func (e *Error) fields(f *fields) {
	number(f, &e.Class)
	f.text(&e.Detail)
}

func (e *Error) Error() string { return e.Detail }

// Errorf makes an [Error].
func Errorf(c Class, format string, args ...any) *Error {
	return &Error{Class: c, Detail: fmt.Sprintf(format, args...)}
}
