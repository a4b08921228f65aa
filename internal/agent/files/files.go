// Package files works with the container's files for the daemon, each time with the permissions of
// the user that the request names: the kernel itself checks them, on a thread that has become that
// user.
package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"syscall"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agent/account"
	"github.com/octobot-run/octobot/internal/agentproto"
)

// Bounds of what goes on at once. What is short waits for a place; what lasts as long as its client
// likes is refused.
const (
	maxShort   = 16  // each takes a thread for a moment
	maxContent = 256 // files that are read or written: a buffer and a stream's window each
	maxLong    = 8   // archives and searches: each takes a thread until its end
	maxWatch   = 64
)

// maxPath is the kernel's bound.
const maxPath = 4096

// service is what the handlers work with.
type service struct {
	lookup   func(user string) (account.Account, error)
	short    chan struct{}
	contents chan struct{}
	long     chan struct{}
	watches  chan struct{}
	buffers  chan []byte   // that can be used again
	publish  chan struct{} // held while a file takes its place, so that what it replaces is what was checked
}

// Register makes reg serve the requests about files. Requests that name no user are the agent's own
// user's.
func Register(reg agent.Registry) {
	newService(func(user string) (account.Account, error) {
		if user == "" {
			return account.Self(), nil
		}
		return account.Lookup(user)
	}).register(reg)
}

func newService(lookup func(string) (account.Account, error)) *service {
	return &service{
		lookup:   lookup,
		short:    make(chan struct{}, maxShort),
		contents: make(chan struct{}, maxContent),
		long:     make(chan struct{}, maxLong),
		watches:  make(chan struct{}, maxWatch),
		buffers:  make(chan []byte, 4),
		publish:  make(chan struct{}, 1),
	}
}

func (v *service) register(reg agent.Registry) {
	handle(v, reg, (*service).stat)
	handle(v, reg, (*service).list)
	handle(v, reg, (*service).makeDirectory)
	handle(v, reg, (*service).move)
	handle(v, reg, (*service).remove)
	handle(v, reg, (*service).change)
	handle(v, reg, (*service).read)
	handle(v, reg, (*service).write)
	handle(v, reg, (*service).watch)
	handle(v, reg, (*service).search)
	handle(v, reg, (*service).pack)
	handle(v, reg, (*service).unpack)
}

// request is a message that names a path and a user.
type request[T any] interface {
	*T
	agentproto.Message
	Asked() *agentproto.As
}

// call is one request under way.
type call struct {
	ctx     context.Context
	s       *agentproto.Stream
	path    string
	account account.Account
	service *service
}

func handle[T any, R request[T]](v *service, reg agent.Registry, do func(*service, *call, R) error) {
	reg.Handle(R(new(T)).Kind(), func(ctx context.Context, s *agentproto.Stream, payload []byte) error {
		r := R(new(T))
		if err := agentproto.Decode(payload, r); err != nil {
			return agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
		}
		c := &call{ctx: ctx, s: s, path: r.Asked().Path, service: v}
		err := checkPath(c.path)
		if err == nil {
			c.account, err = v.account(r.Asked().User)
		}
		if err == nil {
			err = do(v, c, r)
		}
		if err != nil {
			c.refuse(err)
		}
		return nil
	})
}

func (v *service) account(user string) (account.Account, error) {
	a, err := v.lookup(user)
	if err != nil {
		return a, agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
	}
	return a, nil
}

func checkPath(p string) error {
	if !strings.HasPrefix(p, "/") || strings.ContainsRune(p, 0) || len(p) >= maxPath {
		return agentproto.Errorf(agentproto.InvalidArgument, "%.200q is not an absolute path of less than %d bytes", p,
			maxPath)
	}
	return nil
}

// as does something short as the call's user.
func (c *call) as(do func() error) error {
	select {
	case c.service.short <- struct{}{}:
		defer func() { <-c.service.short }()
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
	return c.account.Do(do)
}

// asLong does something as the call's user that takes as long as there is to do.
func (c *call) asLong(do func() error) error {
	release, err := take(c.service.long, "archives, searches and changes of whole directories")
	if err != nil {
		return err
	}
	defer release()
	return c.account.Do(do)
}

// take takes a place of those that last, or refuses.
func take(places chan struct{}, what string) (release func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	default:
		return nil, agentproto.Errorf(agentproto.LimitReached, "%d %s are under way, which is all there may be",
			cap(places), what)
	}
}

// buffer lends a buffer that fills a frame.
func (v *service) buffer() []byte {
	select {
	case b := <-v.buffers:
		return b
	default:
		return make([]byte, agentproto.MaxData)
	}
}

func (v *service) giveBack(b []byte) {
	select {
	case v.buffers <- b:
	default:
	}
}

// refuse tells the daemon why what it sends is not wanted, and drops that until it ends the stream:
// closed at once, the stream could lose the answer.
func (c *call) refuse(err error) {
	if c.s.Send(agent.Answer(failure(c.path, err))) != nil {
		return
	}
	for {
		if _, err := c.s.Next(); err != nil {
			return
		}
	}
}

// over reports whether what is asked for is wanted no more. It costs a look at the stream: ask
// every so often.
func (c *call) over() bool { return c.ctx.Err() != nil || c.s.Over() }

// done says that it is.
func (c *call) done() error {
	_ = c.s.Send(&agentproto.Done{}) // who is gone need not know
	return nil
}

// received is what the daemon sends as KindData, until KindEnd.
type received struct {
	s    *agentproto.Stream
	rest []byte
	end  bool
}

// next gives the next bytes, valid until the next call; io.EOF after KindEnd. Any other error means
// that the operation is cancelled.
func (r *received) next() ([]byte, error) {
	if r.end {
		return nil, io.EOF
	}
	frame, err := r.s.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errCancelled
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errCancelled, err)
	case frame.Kind == agentproto.KindData:
		return frame.Payload, nil
	case frame.Kind == agentproto.KindEnd:
		r.end = true
		return nil, io.EOF
	}
	return nil, agentproto.Errorf(agentproto.InvalidArgument, "kind %d where data was due", frame.Kind)
}

// Read implements [io.Reader].
func (r *received) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		data, err := r.next()
		if err != nil {
			return 0, err
		}
		r.rest = data
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// errCancelled: the daemon has ended the stream.
var errCancelled = errors.New("the operation was cancelled")

// failure makes the answer of an error.
func failure(p string, err error) error {
	if err == nil {
		return nil
	}
	if said, ok := errors.AsType[*agentproto.Error](err); ok {
		return said
	}
	if errors.Is(err, account.ErrNotRoot) {
		return agentproto.Errorf(agentproto.Unsupported, "%v, which the agent is not in this container", err)
	}
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return agentproto.Errorf(agentproto.Internal, "%s: %v", p, err)
	}
	class := agentproto.Internal
	switch errno {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP:
		class = agentproto.NotFound
	case syscall.EEXIST, syscall.ENOTEMPTY:
		class = agentproto.Exists
	case syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EBUSY, syscall.ETXTBSY:
		class = agentproto.PermissionDenied
	case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:
		class = agentproto.NoSpace
	case syscall.ENAMETOOLONG, syscall.EINVAL, syscall.EXDEV:
		class = agentproto.InvalidArgument
	case syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM:
		class = agentproto.LimitReached
	}
	return agentproto.Errorf(class, "%s: %v", p, errno)
}

// base is the last element of a path, as it is shown.
func base(p string) string { return path.Base(p) }
