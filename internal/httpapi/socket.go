package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
)

// checkUpgrade refuses what is no WebSocket handshake, so that accepting cannot fail for it later.
func checkUpgrade(r *http.Request) error {
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key"))
	switch {
	case r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ProtoMinor < 1,
		!hasToken(r.Header, "Connection", "upgrade"), !hasToken(r.Header, "Upgrade", "websocket"):
		return problem.New(v1.CodeUpgradeRequired, "this path is for WebSockets over HTTP/1.1")
	case r.Header.Get("Sec-WebSocket-Version") != "13" || err != nil || len(key) != 16:
		return problem.New(v1.CodeInvalidArgument,
			"the WebSocket handshake is not of version 13, or its key is malformed")
	}
	return nil
}

func hasToken(h http.Header, name, token string) bool {
	for _, v := range h.Values(name) {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// socket is a WebSocket on its server's side. Its reader and its pings run beside the
// handler, which ends it with bye.
type socket struct {
	conn *websocket.Conn
	// ctx is the work's: it ends when the client goes away or errs, and with shutdown.
	ctx    context.Context
	cancel context.CancelCauseFunc
	// life is the connection's: a read or write that a ctx ends breaks the connection, so it goes
	// on a little longer than the work, for bye's sake.
	life context.Context
	end  context.CancelFunc
	wg   sync.WaitGroup
}

// accept upgrades a request that checkUpgrade let through. The handler answers for the connection
// from then on: it calls bye.
func (a *API) accept(w *front.ResponseWriter, r *http.Request) (*socket, error) {
	s, err := a.upgrade(w, r)
	if err != nil {
		return nil, err
	}
	s.wg.Go(func() {
		if err := s.ping(s.ctx, 2*a.timing.keepalive); err != nil {
			s.cancel(err)
		}
	})
	return s, nil
}

func (a *API) upgrade(w *front.ResponseWriter, r *http.Request) (*socket, error) {
	w.Streaming()
	// The origin was checked, by rules that know of the server's other names.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(v1.MaxFrame)
	s := &socket{conn: conn}
	s.ctx, s.cancel = a.streams.Until(r.Context())
	s.life, s.end = context.WithCancel(context.WithoutCancel(r.Context()))
	context.AfterFunc(s.ctx, func() {
		select {
		case <-time.After(front.Farewell):
			s.end()
		case <-s.life.Done():
		}
	})
	return s, nil
}

// ping keeps what is in between from forgetting a quiet connection. A peer that does not
// answer may be busy, or our own client, and is left alone; TCP finds out about one that is gone:
// that is an error. It ends with ctx: nil.
func (s *socket) ping(ctx context.Context, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		bounded, cancel := context.WithTimeout(s.ctx, interval)
		err := s.conn.Ping(bounded)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
}

// read hands what the client sends to the handlers, until the connection ends or one of them
// fails. Either ends ctx, with the reason.
func (s *socket) read(data func(io.Reader) error, control func(v1.Control) error) {
	s.wg.Go(func() {
		for {
			kind, frame, err := s.conn.Reader(s.life)
			if err == nil && kind == websocket.MessageBinary {
				err = data(frame)
			} else if err == nil {
				err = readControl(frame, control)
			}
			if err != nil {
				s.cancel(err)
				return
			}
		}
	})
}

// watchUntaken looks for the client while what it sent is not taken: nothing is read then, and so
// not its end either. The caller calls taken.
func (s *socket) watchUntaken() (taken func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	s.wg.Go(func() {
		if err := s.ping(ctx, untakenPing); err != nil {
			s.cancel(err)
		}
	})
	return cancel
}

// untakenPing is the time between signs of life to a client that is not read. Its system answers
// the first after its end that it is gone, so that the second fails.
const untakenPing = time.Second

// write sends a binary frame. It waits for a client that does not read until ctx ends.
func (s *socket) write(ctx context.Context, frame []byte) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	return s.conn.Write(ctx, websocket.MessageBinary, frame)
}

func readControl(frame io.Reader, control func(v1.Control) error) error {
	b, err := io.ReadAll(frame)
	if err != nil {
		return err
	}
	c, err := v1.ParseControl(b)
	if err != nil {
		return problem.New(v1.CodeInvalidArgument, "%s", err)
	}
	return control(c)
}

// closeWith sends the last control frame, closes the connection and waits for its goroutines.
func (s *socket) closeWith(last v1.Control) {
	ctx, cancel := context.WithTimeout(s.life, front.Farewell)
	defer cancel()
	b, err := json.Marshal(last)
	if err == nil {
		err = s.conn.Write(ctx, websocket.MessageText, b)
	}
	if err == nil {
		_ = s.conn.Close(closeStatus(last))
	}
	s.leave()
}

func closeStatus(last v1.Control) (websocket.StatusCode, string) {
	if last.Error == nil {
		return websocket.StatusNormalClosure, ""
	}
	switch {
	case last.Error.Detail == front.ErrShutdown.Detail:
		return websocket.StatusGoingAway, last.Error.Detail
	case last.Error.Status < http.StatusInternalServerError:
		return websocket.StatusPolicyViolation, string(last.Error.Code)
	default:
		return websocket.StatusInternalError, string(last.Error.Code)
	}
}
