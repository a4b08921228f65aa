package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
)

// description is what the OpenAPI document says before any route does.
func (a *API) description() huma.Config {
	schemas := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	schemas.RegisterTypeAlias(reflect.TypeFor[huma.ErrorModel](), reflect.TypeFor[v1.Problem]())
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Octobot", Version: "1",
				Description: "Sessions in containers. Durations are Go's duration strings (\"1h30m\"), and days are read too (\"7d\"); sizes are bytes, times are RFC 3339. " +
					"Errors are application/problem+json with a stable code.",
			},
			Components: &huma.Components{
				Schemas:         schemas,
				SecuritySchemes: map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}},
			},
			Security: []map[string][]string{{"token": {}}},
		},
		Formats:                      map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat:                "application/json",
		Transformers:                 []huma.Transformer{a.transformRefusal},
		RejectUnknownQueryParameters: true,
	}
}

// unmarshal refuses what encoding/json would silently replace.
func unmarshal(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errors.New("not valid UTF-8")
	}
	err := json.Unmarshal(data, v)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("no JSON, from byte %d on", syntax.Offset)
	}
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s: %s does not fit", strings.TrimPrefix(mismatch.Field, "Spec."), mismatch.Value)
	}
	return err
}

func (a *API) routes() {
	a.sessionRoutes()
	a.mainProcessRoutes()
	a.updateRoutes()
	a.topRoutes()
	a.processRoutes()
	a.terminalRoutes()
	a.recordingRoutes()
	a.fileRoutes()
	a.detachedRoutes()
	a.portRoutes()
	a.adminRoutes()
	a.projectRoutes()
	a.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(a.openapi)
	})
	if a.cfg.Metrics != nil {
		a.mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
			if err := front.PrincipalOf(r.Context()).RequireAdmin(); err != nil {
				problem.Write(w, a.problemOf(r.Context(), err))
				return
			}
			a.cfg.Metrics.ServeHTTP(w, r)
		})
	}
	a.openSchemas()
}

// openSchemas lets later versions of the server add fields to what it says, but
// not clients to what they ask.
func (a *API) openSchemas() {
	asked := map[string]bool{"CreateSessionRequest": true, "CreateTokenRequest": true, "ExecRequest": true,
		"CreateTerminalRequest": true, "StartProcessRequest": true,
		"SignalRequest": true, "SignalSessionRequest": true, "UpdateSessionRequest": true, "ChangeFileRequest": true,
		"Resources": true, "Credentials": true, "Quota": true}
	for name, schema := range a.huma.OpenAPI().Components.Schemas.Map() {
		if !asked[name] {
			schema.AdditionalProperties = nil
		}
	}
}

// route registers a route that takes and gives JSON.
func route[I, O any](a *API, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	setLimits(&op)
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, a.problemOf(ctx, err)
		}
		return out, nil
	})
}

// stream registers a route whose handler writes the answer itself, and takes as long as
// it likes, but no longer than its caller's right: r's ctx ends with that. An error that it returns
// is answered as a problem: it has written nothing then.
func stream[I any](
	a *API, kind front.Kind, op huma.Operation, handle func(w *front.ResponseWriter, r *http.Request, in *I) error,
) {
	setLimits(&op)
	huma.Register(a.huma, op, func(_ context.Context, in *I) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, rw := humago.Unwrap(ctx)
			w := rw.(*front.ResponseWriter)
			life, leave, err := a.streams.Open(r.Context(), kind)
			if err == nil {
				defer leave()
				err = problem.CauseOf(life, handle(w, r.WithContext(life), in))
			}
			if err != nil {
				problem.Write(w, a.problemOf(r.Context(), err))
			}
		}}, nil
	})
}

// setLimits turns huma's own off: every body is bounded before it comes here, in size
// and in time.
func setLimits(op *huma.Operation) {
	op.MaxBodyBytes, op.BodyReadTimeout = -1, -1
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b := append(mustMarshal(v), '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// body describes an answer that a handler writes itself.
func body[T any](a *API, contentType string) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{contentType: {Schema: a.schema(reflect.TypeFor[T]())}}
}

func (a *API) schema(t reflect.Type) *huma.Schema {
	return a.huma.OpenAPI().Components.Schemas.Schema(t, true, "")
}

// events describes a stream of server-sent events: each one's name and what its data is.
func (a *API) events(kinds map[string]reflect.Type) *huma.MediaType {
	var oneOf []*huma.Schema
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		oneOf = append(oneOf, &huma.Schema{
			Type: huma.TypeObject, Required: []string{"event", "data"},
			Properties: map[string]*huma.Schema{
				"event": {Type: huma.TypeString, Enum: []any{name}},
				"data":  a.schema(kinds[name]),
			},
		})
	}
	return &huma.MediaType{Schema: &huma.Schema{
		Type: huma.TypeArray, Description: "Server-sent events; data is one line of JSON.",
		Items: &huma.Schema{OneOf: oneOf},
	}}
}

// mustMarshal is for values that JSON always can hold: an error is a mistake in this program.
func mustMarshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("httpapi: marshal %T: %v", v, err))
	}
	return b
}
