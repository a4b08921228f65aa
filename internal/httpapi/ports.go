package httpapi

import (
	"context"
	"log/slog"
	"net"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/relay"
)

// portRoutes are about what programs in sessions listen on.
func (a *API) portRoutes() {
	const path = "/v1/sessions/{id}"
	tags := []string{"Ports"}
	socket := map[string]*huma.Response{
		"101":     {Description: "Switching to the WebSocket protocol"},
		"default": {Description: "Error", Content: body[v1.Problem](a, problem.ContentType)},
	}
	route(a, huma.Operation{
		OperationID: "list-ports", Method: http.MethodGet, Path: path + "/ports", Tags: tags,
		Summary: "List the TCP ports that something in a session listens on",
	}, a.listPorts)
	stream(a, front.Ports, huma.Operation{
		OperationID: "dial-port", Method: http.MethodGet, Path: path + "/ports/{port}", Tags: tags,
		Summary: "Connect to a TCP port inside a session (WebSocket)",
		Description: "No port need be published, and the program may listen on the session's own 127.0.0.1 or ::1 only. " +
			"Binary frames are the connection's bytes; both directions wait for a slow reader. {\"eof\": true}, a text " +
			"frame, is sent by each side after the last of its bytes, and the other direction goes on; after both, the " +
			"server closes. {\"error\": Problem} comes down where the connection was reset; a client that goes away " +
			"without eof resets it. Where nothing listens, the answer is a problem, port_closed.",
		Responses: socket,
	}, a.dialPort)
	stream(a, front.Ports, huma.Operation{
		OperationID: "dial-socket", Method: http.MethodGet, Path: path + "/sockets", Tags: tags,
		Summary:     "Connect to a Unix socket inside a session (WebSocket)",
		Description: "As to a port, with the rights of a user.",
		Responses:   socket,
	}, a.dialSocket)
	stream(a, front.Ports, huma.Operation{
		OperationID: "listen-port", Method: http.MethodGet, Path: path + "/listeners", Tags: tags,
		Summary: "Listen on a TCP port inside a session (WebSocket)",
		Description: "For as long as the WebSocket is open. The first text frame is {\"listening\": Listening}; " +
			"{\"error\": Problem} comes where nothing listens any more, as after the session's end.",
		Responses: socket,
	}, a.listenPort)
	stream(a, front.Ports, huma.Operation{
		OperationID: "accept-connection", Method: http.MethodGet, Path: path + "/listeners/{listener}", Tags: tags,
		Summary: "Take the next connection to a port that is listened on (WebSocket)",
		Description: "{\"connected\": Peer}, a text frame, comes when there is one; from then on it is as one to a " +
			"port. Connections wait until they are taken.",
		Responses: socket,
	}, a.acceptConnection)
}

type portsOutput struct{ Body v1.PortList }

func (a *API) listPorts(ctx context.Context, in *sessionPath) (*portsOutput, error) {
	list, err := a.service.ListeningPorts(ctx, front.PrincipalOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	out := &portsOutput{Body: v1.PortList{Ports: make([]v1.ListeningPort, len(list))}}
	for i, p := range list {
		out.Body.Ports[i] = v1.ListeningPort{Port: p.Port, Address: p.Address, PID: p.PID, Cmd: p.Cmd}
	}
	return out, nil
}

type dialPortInput struct {
	ID   string `path:"id"`
	Port int    `path:"port" minimum:"1" maximum:"65535"`
}

func (a *API) dialPort(w *front.ResponseWriter, r *http.Request, in *dialPortInput) error {
	return a.connect(w, r, in.ID, func(ctx context.Context) (net.Conn, error) {
		return a.service.DialPort(ctx, front.PrincipalOf(ctx), in.ID, in.Port)
	})
}

type dialSocketInput struct {
	ID   string `path:"id"`
	Path string `query:"path" required:"true" doc:"Absolute path."`
	User string `query:"user" doc:"Whose rights it takes; empty for the session's own user."`
}

func (a *API) dialSocket(w *front.ResponseWriter, r *http.Request, in *dialSocketInput) error {
	return a.connect(w, r, in.ID, func(ctx context.Context) (net.Conn, error) {
		return a.service.DialSocket(ctx, front.PrincipalOf(ctx), in.ID, in.Path, container.SocketOptions{User: in.User})
	})
}

// connect joins a WebSocket with the connection that dial makes.
func (a *API) connect(
	w *front.ResponseWriter, r *http.Request, id string, dial func(context.Context) (net.Conn, error),
) error {
	if err := checkUpgrade(r); err != nil {
		return err
	}
	conn, err := dial(r.Context())
	if err != nil {
		return err
	}
	c, err := a.acceptConn(w, r)
	if err != nil {
		_ = conn.Close()
		return nil // it was answered
	}
	if err := relay.Join(c.s.ctx, conn.(relay.Conn), c); err != nil {
		a.log.LogAttrs(c.s.ctx, slog.LevelDebug, "connection into a session", slog.String("session", id),
			slog.Any("error", err))
	}
	return nil
}

type listenInput struct {
	ID      string `path:"id"`
	Port    int    `query:"port" minimum:"0" maximum:"65535" doc:"0 for any that is free."`
	Address string `query:"address" doc:"An IP address of the session; empty for 127.0.0.1."`
}

func (a *API) listenPort(w *front.ResponseWriter, r *http.Request, in *listenInput) error {
	if err := checkUpgrade(r); err != nil {
		return err
	}
	l, err := a.service.ListenPort(r.Context(), front.PrincipalOf(r.Context()), in.ID, in.Address, in.Port)
	if err != nil {
		return err
	}
	d := newDoor(in.ID, l)
	defer d.close()
	s, err := a.accept(w, r)
	if err != nil {
		return nil // it was answered
	}
	id := a.doors.add(d)
	defer a.doors.remove(id)
	addr := l.Addr().(*net.TCPAddr)
	listening := v1.Listening{ID: id, Address: addr.IP.String(), Port: addr.Port}
	if err := s.say(v1.Control{Listening: &listening}); err != nil {
		s.cancel(err)
	}
	s.wg.Go(func() { s.cancel(d.accept(s.ctx)) })
	s.watch()
	<-s.ctx.Done()
	d.close() // ends what accepts
	s.closeWith(v1.Control{Error: &a.problemOf(s.ctx, problem.CauseOf(s.ctx, errNotListening)).Problem})
	return nil
}

type acceptInput struct {
	ID       string `path:"id"`
	Listener string `path:"listener"`
}

func (a *API) acceptConnection(w *front.ResponseWriter, r *http.Request, in *acceptInput) error {
	if err := checkUpgrade(r); err != nil {
		return err
	}
	if err := a.service.Check(r.Context(), front.PrincipalOf(r.Context()), in.ID); err != nil {
		return err
	}
	d := a.doors.find(in.Listener, in.ID)
	if d == nil {
		return errNotListening
	}
	conn, err := a.acceptConn(w, r)
	if err != nil {
		return nil // it was answered
	}
	s, gone := conn.s, conn.awaitGone()
	select {
	case accepted := <-d.conns:
		peer := v1.Peer{Address: accepted.RemoteAddr().String()}
		if isOver(gone) || s.ctx.Err() != nil || s.say(v1.Control{Connected: &peer}) != nil {
			s.cancel(errGone)
			s.leave()
			d.offer(accepted) // to the next one who waits
			return nil
		}
		if err := relay.Join(s.ctx, accepted.(relay.Conn), conn); err != nil {
			a.log.LogAttrs(s.ctx, slog.LevelDebug, "connection from a session", slog.String("session", in.ID),
				slog.Any("error", err))
		}
		return nil
	case <-gone:
		s.cancel(errGone)
	case <-s.ctx.Done():
	case <-d.done:
		s.cancel(errNotListening)
	}
	s.closeWith(v1.Control{Error: &a.problemOf(s.ctx, problem.CauseOf(s.ctx, errGone)).Problem})
	return nil
}

func isOver(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
