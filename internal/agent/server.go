// Package agent is the process that serves a session's container from within, for the daemon at the
// other end of its standard input and output.
package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/octobot-run/octobot/internal/agentproto"
)

// Handler serves one kind of request. request is the payload of its frame, and the handler's to
// keep. It answers on s, which the caller closes when the handler returns. ctx ends with the agent,
// not with the stream. A returned error is sent as the answer, an [*agentproto.Error] as it is.
type Handler func(ctx context.Context, s *agentproto.Stream, request []byte) error

// Registry takes handlers; [Server] is one. Each topic of the agent (exec, terminals, …) registers
// its own.
type Registry interface {
	Handle(kind agentproto.Kind, h Handler)
}

// maxWords bounds the words of an error.
const maxWords = 4 << 10

// Server serves a daemon.
type Server struct {
	info     agentproto.Info
	handlers map[agentproto.Kind]Handler
}

// NewServer makes a Server that says info of itself.
func NewServer(info agentproto.Info) *Server {
	return &Server{info: info, handlers: map[agentproto.Kind]Handler{}}
}

// Handle sets the handler of a kind of request, which has none yet. It must not be called once
// Serve was.
func (s *Server) Handle(kind agentproto.Kind, h Handler) {
	if s.handlers[kind] != nil {
		panic(fmt.Sprintf("agent: kind %d has a handler", kind))
	}
	s.handlers[kind] = h
}

// Serve greets the daemon at the other end of conn, which it owns from then on, and serves what it
// asks for, until the connection or ctx ends: nil. It returns when all handlers have.
func (s *Server) Serve(ctx context.Context, conn net.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	session, err := agentproto.Accept(conn, s.info)
	stop()
	if err != nil {
		return err
	}
	s.serve(ctx, session)
	return nil
}

// serve serves the operations of one connection until it ends.
func (s *Server) serve(ctx context.Context, session *agentproto.Session) {
	ctx, cancel := context.WithCancel(ctx)
	var operations sync.WaitGroup
	defer operations.Wait()
	defer cancel() // what waits for nothing but the agent's end
	defer session.Close()
	stop := context.AfterFunc(ctx, func() { _ = session.Close() })
	defer stop()
	for {
		stream, err := session.Accept()
		if err != nil {
			return
		}
		operations.Go(func() { s.Operate(ctx, stream) })
	}
}

// Operate serves one operation, and closes its stream.
func (s *Server) Operate(ctx context.Context, stream *agentproto.Stream) {
	defer stream.Close()
	frame, err := stream.Next()
	if err != nil {
		return
	}
	h := s.handlers[frame.Kind]
	if h == nil {
		_ = stream.Send(agentproto.Errorf(agentproto.Unsupported, "this agent knows no request of kind %d", frame.Kind))
		return
	}
	if err := guarded(ctx, h, stream, bytes.Clone(frame.Payload)); err != nil {
		_ = stream.Send(Answer(err))
	}
}

// guarded makes an error of a panic: one operation's must not end all others.
func guarded(ctx context.Context, h Handler, stream *agentproto.Stream, request []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = agentproto.Errorf(agentproto.Internal, "panic: %v", r)
		}
	}()
	return h(ctx, stream, request)
}

// Answer makes the answer to a request of why it failed.
func Answer(err error) *agentproto.Error {
	said, ok := errors.AsType[*agentproto.Error](err)
	if !ok {
		said = &agentproto.Error{Class: agentproto.Internal, Detail: err.Error()}
	}
	if len(said.Detail) > maxWords {
		said = &agentproto.Error{Class: said.Class, Detail: said.Detail[:maxWords]}
	}
	return said
}
