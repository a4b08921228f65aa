package httpapi

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// serve takes a request through the checks to its route.
func (a *API) serve(rw http.ResponseWriter, r *http.Request, trusted bool) {
	start := time.Now()
	w := &responseWriter{ResponseWriter: rw, control: http.NewResponseController(rw), timeout: a.timing.write}
	w.extend()
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	route := "none"
	var caller principal
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler {
				panic(v)
			}
			err := fmt.Errorf("panic: %v\n%s", v, debug.Stack())
			if p := a.problemOf(r.Context(), err); w.status == 0 {
				writeProblem(w, p)
			} else {
				panic(http.ErrAbortHandler) // the answer is broken off; let the client see that
			}
		}
		a.metrics.observe(route, w, time.Since(start))
		a.log.LogAttrs(r.Context(), slog.LevelDebug, "request", slog.String("caller", caller.name),
			slog.String("method", r.Method),
			slog.String("route", route), slog.Int("status", w.status), slog.Duration("took", time.Since(start)))
	}()

	var p *problem
	if caller, p = a.checkRequest(r, trusted); p != nil {
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close") // rather than read what was not wanted
		}
		writeProblem(w, p)
		return
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = http.MaxBytesReader(rw, &timedBody{ReadCloser: r.Body, control: w.control, timeout: a.timing.body},
			a.cfg.MaxBody)
	}
	r = r.WithContext(context.WithValue(r.Context(), principalKey{}, caller))
	handler, pattern := a.mux.Handler(r)
	if pattern == "" {
		writeProblem(w, noRoute(handler, r))
		return
	}
	route = pattern
	if span := trace.SpanFromContext(r.Context()); span.IsRecording() {
		span.SetName(pattern)
	}
	a.mux.ServeHTTP(w, r)
}

// checkRequest checks a request before anything of it is used, and says whose it is.
func (a *API) checkRequest(r *http.Request, trusted bool) (principal, *problem) {
	if !trusted {
		if p := a.checkOrigin(r); p != nil {
			return principal{}, p
		}
	}
	if size := headerSize(r); size > maxHeader {
		return principal{}, newProblem(v1.CodeHeadersTooLarge,
			"the request's line and headers are %d bytes, more than %d", size, maxHeader)
	}
	// The router would redirect such paths to others.
	if !canonical(r.URL.Path) {
		return principal{}, newProblem(v1.CodeInvalidArgument, "the path holds an empty element, \".\" or \"..\"")
	}
	if r.ContentLength > a.cfg.MaxBody {
		return principal{}, bodyTooLarge(a.cfg.MaxBody)
	}
	if trusted {
		return principal{name: "socket", admin: true}, nil
	}
	caller, err := a.authenticate(r)
	if err != nil {
		return principal{}, a.problemOf(r.Context(), err)
	}
	return caller, nil
}

func canonical(p string) bool {
	clean := path.Clean(p)
	if clean != "/" && strings.HasSuffix(p, "/") {
		clean += "/"
	}
	return clean == p
}

// noRoute says why the router has nothing for a request; refused is the router's answer.
func noRoute(refused http.Handler, r *http.Request) *problem {
	answer := discard{header: http.Header{}}
	refused.ServeHTTP(&answer, r)
	if allow := answer.header.Get("Allow"); allow != "" {
		p := newProblem(v1.CodeMethodNotAllowed, "%s is not for this path; %s is", r.Method, allow)
		p.header.Set("Allow", allow)
		return p
	}
	return newProblem(v1.CodeNotFound, "there is nothing at this path").hint("GET /openapi.json lists what there is")
}

// discard keeps an answer's headers.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// checkOrigin refuses requests that a browser was tricked into: by a name that an attacker
// made point here (DNS rebinding), or from a page of another site.
func (a *API) checkOrigin(r *http.Request) *problem {
	host := hostname(r.Host)
	if !a.allowedHost(host) && !isLocalAddress(r, host) {
		return newProblem(v1.CodeHostNotAllowed, "the API is not reached under the name %q", host).
			hint("use localhost or 127.0.0.1, or add the name to the server's allowed hosts")
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	sameOrigin := err == nil && strings.EqualFold(u.Host, r.Host) && (u.Scheme == "https") == (r.TLS != nil)
	if err != nil || !sameOrigin &&
		!slices.ContainsFunc(a.cfg.AllowedHosts, func(h string) bool { return strings.EqualFold(h, u.Hostname()) }) {
		return newProblem(v1.CodeHostNotAllowed, "requests from pages of another origin are refused").
			hint("add the origin's host to the server's allowed hosts")
	}
	return nil
}

func (a *API) allowedHost(host string) bool {
	if strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost") {
		return true
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(a.cfg.AllowedHosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// isLocalAddress reports whether host is the address that the connection came in on: no name
// was looked up, so none was rebound.
func isLocalAddress(r *http.Request, host string) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap() == local.AddrPort().Addr().Unmap()
}

// hostname cuts a port off, and an IPv6 address's brackets.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

func headerSize(r *http.Request) int {
	size := len(r.RequestURI)
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v) + 4
		}
	}
	return size
}

// responseWriter bounds how long a client may leave an answer unread, and remembers the status.
type responseWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration // zero: none
	status  int
	stream  bool
}

// Unwrap is for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// patient lets the client take its time: what writes to it waits. Once ctx has ended, it gets
// no more than a moment. The handler calls done when it has written everything.
func (w *responseWriter) patient(ctx context.Context) (done func()) {
	w.timeout = 0
	_ = w.control.SetWriteDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = w.control.SetWriteDeadline(time.Now().Add(farewell)) })
	return func() { stop() }
}

func (w *responseWriter) extend() {
	if w.timeout > 0 {
		_ = w.control.SetWriteDeadline(time.Now().Add(w.timeout))
	}
}

func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.extend()
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.extend()
	return w.ResponseWriter.Write(b)
}

// FlushError is for http.ResponseController.
func (w *responseWriter) FlushError() error {
	w.extend()
	return w.control.Flush()
}

// timedBody bounds how long a body may take to arrive. The server takes the deadline back when
// it has.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
	timeout time.Duration
	began   bool
}

func (b *timedBody) Read(p []byte) (int, error) {
	if !b.began {
		b.began = true
		_ = b.control.SetReadDeadline(time.Now().Add(b.timeout))
	}
	return b.ReadCloser.Read(p)
}
