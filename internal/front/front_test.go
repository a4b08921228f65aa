package front_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/session"
)

// site says its name, what it is asked and by whom.
type site struct{ name string }

func (s site) Route(r *http.Request) (handler http.Handler, name string, err error) {
	if r.Method != http.MethodGet {
		return nil, "", errors.New("no route")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "panic" {
			panic("on purpose")
		}
		caller := front.PrincipalOf(r.Context())
		_, _ = fmt.Fprintf(w, "%s %s for %q", s.name, r.URL.Path, caller.Name)
	}), "GET", nil
}

func (site) Public(r *http.Request) bool { return r.URL.RawQuery == "public" }

func (s site) Refuse(w http.ResponseWriter, _ *http.Request, _ error) {
	http.Error(w, "refused by "+s.name, http.StatusTeapot)
}

// nobody has a token.
type nobody struct{}

func (nobody) Authenticate(context.Context, string) (session.Token, error) {
	return session.Token{}, errors.New("unknown token")
}

func (nobody) WhileValid(context.Context, session.Token) (context.Context, func(), error) {
	return nil, nil, errors.New("unknown token")
}

func (nobody) AuditRefusal(context.Context, session.Principal, error) {}

func (nobody) MaxStreams(context.Context, string) (int, error) { return 0, nil }

// Every site answers below its prefix, also with what was refused on the way to it.
func TestSites(t *testing.T) {
	f := front.New(nobody{}, front.Config{})
	f.Mount("/", site{"api"})
	f.Mount("/console/", site{"console"})
	for _, tt := range []struct {
		method, target, host, token string
		trusted                     bool
		status                      int
		want                        string
	}{
		{"GET", "/v1/info", "localhost", "", true, 200, `api /v1/info for "socket"`},
		{"GET", "/v1/info?public", "localhost", "", false, 200, `api /v1/info for ""`},
		{"GET", "/console/a?public", "localhost", "", false, 200, `console /console/a for ""`},
		{"GET", "/console", "localhost", "", true, 200, `api /console for "socket"`},
		{"GET", "/console/a", "localhost", "", false, 418, "refused by console\n"},
		{"GET", "/v1/info", "localhost", "octo_x", false, 418, "refused by api\n"},
		{"GET", "/console/a?public", "evil.example", "", false, 418, "refused by console\n"},
		{"GET", "/console/../v1", "localhost", "", true, 418, "refused by console\n"},
		{"POST", "/console/a", "localhost", "", true, 418, "refused by console\n"},
		{"GET", "/console/a?panic", "localhost", "", true, 418, "refused by console\n"},
		{"OPTIONS", "*", "localhost", "", true, 418, "refused by api\n"},
	} {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.target, nil)
			r.Host = tt.host
			if tt.token != "" {
				r.Header.Set("Authorization", "Bearer "+tt.token)
			}
			w := httptest.NewRecorder()
			f.Handler(tt.trusted).ServeHTTP(w, r)
			if w.Code != tt.status || w.Body.String() != tt.want {
				t.Errorf("got %d, %q; want %d, %q", w.Code, w.Body, tt.status, tt.want)
			}
		})
	}
}
