package front

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

// serve takes a request through the checks to its route.
func (f *Front) serve(rw http.ResponseWriter, r *http.Request, trusted bool) {
	start := time.Now()
	occupy(r.Context())
	w := &ResponseWriter{ResponseWriter: rw, control: http.NewResponseController(rw), timeout: f.cfg.WriteTimeout}
	w.extend()
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	site, route := f.siteOf(r), "none"
	var who caller
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler || w.status != 0 {
				panic(http.ErrAbortHandler) // the answer is broken off; let the client see that
			}
			site.Refuse(w, r, fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
		}
		f.metrics.observe(route, w, time.Since(start))
		f.log.LogAttrs(r.Context(), slog.LevelDebug, "request", slog.String("caller", who.Name),
			slog.String("method", r.Method),
			slog.String("route", route), slog.Int("status", w.status), slog.Duration("took", time.Since(start)))
	}()

	var err error
	if who, err = f.checkRequest(r, site, trusted); err != nil {
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close") // rather than read what was not wanted
		}
		if r.Body != nil && uploads(site, r) {
			r.Body = w.receive(r.Body)
		}
		site.Refuse(w, r, err)
		return
	}
	if who.token != nil {
		vouch(r.Context())
	}
	switch {
	case r.Body == nil || r.Body == http.NoBody:
	case uploads(site, r):
		r.Body = w.receive(r.Body)
		defer w.giveUp()
	default:
		free, err := f.acquireBody(r, who)
		if err != nil {
			w.Header().Set("Connection", "close")
			site.Refuse(w, r, err)
			return
		}
		defer free()
		r.Body = http.MaxBytesReader(rw, &timedBody{ReadCloser: r.Body, control: w.control, timeout: f.cfg.BodyTimeout},
			f.cfg.MaxBody)
	}
	r = r.WithContext(context.WithValue(r.Context(), callerKey{}, who))
	handler, name, err := site.Route(r)
	if err != nil {
		site.Refuse(w, r, err)
		return
	}
	route = name
	if span := trace.SpanFromContext(r.Context()); span.IsRecording() {
		span.SetName(route)
	}
	handler.ServeHTTP(w, r)
}

func uploads(site Site, r *http.Request) bool {
	u, ok := site.(Uploader)
	return ok && u.Uploads(r)
}

// acquireBody waits for room for a request's body.
func (f *Front) acquireBody(r *http.Request, who caller) (free func(), err error) {
	if who.token == nil {
		return func() {}, nil
	}
	size := r.ContentLength
	if size < 0 {
		size = f.cfg.MaxBody // it does not say
	}
	return f.bodies.acquire(r.Context(), ownerOf(who.Principal), size, bodyWait)
}

// checkRequest checks a request before anything of it is used, and says whose it is.
func (f *Front) checkRequest(r *http.Request, site Site, trusted bool) (caller, error) {
	var nobody caller
	if !trusted {
		if err := f.checkOrigin(r); err != nil {
			return nobody, err
		}
	}
	if size := headerSize(r); size > maxHeader {
		return nobody, problem.New(v1.CodeHeadersTooLarge,
			"the request's line and headers are %d bytes, more than %d", size, maxHeader)
	}
	// Routers would redirect such paths to others.
	if !canonical(r.URL.Path) {
		return nobody, problem.New(v1.CodeInvalidArgument, "the path holds an empty element, \".\" or \"..\"")
	}
	if r.ContentLength > f.cfg.MaxBody && !uploads(site, r) {
		return nobody, problem.BodyTooLarge(f.cfg.MaxBody)
	}
	switch {
	case trusted:
		return caller{Principal: session.Principal{Name: "socket", Admin: true, Address: "unix"}}, nil
	case site.Public(r):
		return nobody, nil
	}
	return f.authenticate(r)
}

func canonical(p string) bool {
	clean := path.Clean(p)
	if clean != "/" && strings.HasSuffix(p, "/") {
		clean += "/"
	}
	return clean == p
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
